/* SPDX-License-Identifier: Apache-2.0
 *
 * Named by BCC; nothing of it is used here.
 */
