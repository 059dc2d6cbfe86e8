/* SPDX-License-Identifier: Apache-2.0
 *
 * BCC asks for the version only to stamp kprobe programs, which kernels since
 * 5.0 ignore and raw tracepoints never had.
 */
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(4, 18, 0)
