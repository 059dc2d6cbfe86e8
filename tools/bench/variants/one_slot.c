// SPDX-License-Identifier: GPL-2.0-only
/* A cache of one cgroup a CPU: the hash is written when the cgroup changes. */

struct usage {
    u64 cpu_ns;
    u64 switches;
};

struct cpu_state {
    u64 last;
    u64 id;
    struct usage usage;
};

BPF_PERCPU_ARRAY(cpus, struct cpu_state, 1);
BPF_TABLE("percpu_hash", u64, struct usage, usages, MAX_CGROUPS);

RAW_TRACEPOINT_PROBE(sched_switch)
{
    int zero = 0;
    struct cpu_state *cpu = cpus.lookup(&zero);
    u64 now, slice, id;

    if (!cpu)
        return 0;
    now = bpf_ktime_get_ns();
    slice = now - cpu->last;
    cpu->last = now;
    id = bpf_get_current_cgroup_id();
    if (id != cpu->id) {
        struct usage *usage = usages.lookup(&cpu->id);

        if (usage) {
            usage->cpu_ns += cpu->usage.cpu_ns;
            usage->switches += cpu->usage.switches;
        } else {
            usages.update(&cpu->id, &cpu->usage);
        }
        cpu->id = id;
        cpu->usage.cpu_ns = 0;
        cpu->usage.switches = 0;
    }
    cpu->usage.cpu_ns += slice;
    cpu->usage.switches += 1;
    return 0;
}
