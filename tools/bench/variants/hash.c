// SPDX-License-Identifier: GPL-2.0-only
/* The straightforward account: a per-CPU hash, looked up at every switch. */

struct usage {
    u64 cpu_ns;
    u64 switches;
};

BPF_PERCPU_ARRAY(cpus, u64, 1);
BPF_TABLE("percpu_hash", u64, struct usage, usages, MAX_CGROUPS);

RAW_TRACEPOINT_PROBE(sched_switch)
{
    int zero = 0;
    u64 *last = cpus.lookup(&zero);
    u64 now, slice, id;
    struct usage *usage;

    if (!last)
        return 0;
    now = bpf_ktime_get_ns();
    slice = now - *last;
    *last = now;
    id = bpf_get_current_cgroup_id();
    usage = usages.lookup(&id);
    if (usage) {
        usage->cpu_ns += slice;
        usage->switches += 1;
    } else {
        struct usage first = {slice, 1};

        usages.update(&id, &first);
    }
    return 0;
}
