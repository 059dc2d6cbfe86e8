/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGBPF_LINUX_TYPES_H
#define CGBPF_LINUX_TYPES_H

typedef __UINT8_TYPE__ __u8, u8;
typedef __UINT16_TYPE__ __u16, u16, __be16, __sum16;
typedef __UINT32_TYPE__ __u32, u32, __be32, __wsum;
typedef unsigned long long __u64, u64, __be64;
typedef __INT8_TYPE__ __s8, s8;
typedef __INT16_TYPE__ __s16, s16;
typedef __INT32_TYPE__ __s32, s32;
typedef long long __s64, s64;

typedef _Bool bool;
typedef __SIZE_TYPE__ size_t;
typedef __UINTPTR_TYPE__ uintptr_t;

#define __aligned_u64 __u64 __attribute__((aligned(8)))
#define __bitwise
#define NULL ((void *)0)

#endif
