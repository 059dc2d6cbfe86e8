// SPDX-License-Identifier: GPL-2.0-only
/* The floor of every exact account: one look at the clock, one per-CPU value. */

BPF_PERCPU_ARRAY(cpus, u64, 1);

RAW_TRACEPOINT_PROBE(sched_switch)
{
    int zero = 0;
    u64 *last = cpus.lookup(&zero);

    if (last)
        *last += bpf_ktime_get_ns();
    return 0;
}
