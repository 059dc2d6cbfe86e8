// SPDX-License-Identifier: GPL-2.0-only
/* What the kernel takes to call any program at all. */

RAW_TRACEPOINT_PROBE(sched_switch)
{
    return 0;
}
