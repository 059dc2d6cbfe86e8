// SPDX-License-Identifier: GPL-2.0-only
/* No clock: the kernel's own sum_exec_runtime of the task that leaves, less
 * what it had when it came. The cache is that of one_slot.c. */

struct usage {
    u64 cpu_ns;
    u64 switches;
};

struct cpu_state {
    u64 came_with;
    u64 id;
    struct usage usage;
};

BPF_PERCPU_ARRAY(cpus, struct cpu_state, 1);
BPF_TABLE("percpu_hash", u64, struct usage, usages, MAX_CGROUPS);

static inline __attribute__((always_inline)) u64 runtime(u64 task)
{
    u64 value = 0;

    bpf_probe_read_kernel(&value, sizeof(value), (void *)(task + SUM_EXEC_RUNTIME));
    return value;
}

/* TP_PROTO(bool preempt, struct task_struct *prev, struct task_struct *next, ...) */
RAW_TRACEPOINT_PROBE(sched_switch)
{
    int zero = 0;
    struct cpu_state *cpu = cpus.lookup(&zero);
    u64 slice, id;

    if (!cpu)
        return 0;
    slice = runtime(ctx->args[1]) - cpu->came_with;
    cpu->came_with = runtime(ctx->args[2]);
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
