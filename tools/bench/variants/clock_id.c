// SPDX-License-Identifier: GPL-2.0-only
/* The floor, and the current cgroup's id. */

BPF_PERCPU_ARRAY(cpus, u64, 1);

RAW_TRACEPOINT_PROBE(sched_switch)
{
    int zero = 0;
    u64 *last = cpus.lookup(&zero);

    if (last)
        *last += bpf_ktime_get_ns() + bpf_get_current_cgroup_id();
    return 0;
}
