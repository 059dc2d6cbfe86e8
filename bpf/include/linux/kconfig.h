/* SPDX-License-Identifier: Apache-2.0
 *
 * BCC puts `-include linux/kconfig.h` before every program. This folder stands
 * in for the kernel's headers: cgroup_cpu.c includes none of its own, so all
 * that has to exist is what BCC's built-in helpers.h names, and of that only
 * what it uses. Nothing here describes a kernel structure.
 */
#define CONFIG_BPF_SYSCALL 1
