// SPDX-License-Identifier: GPL-2.0-only
/*
 * On-CPU time and context switches per cgroup, exact.
 *
 * Every CPU owns one `struct cpu_state`. At each context switch the slice that
 * ends is charged to the cgroup of the task that is leaving (at sched_switch
 * the current task still is that one), into a small write-back cache of that
 * CPU; the hash is touched only when two cgroups fight for one slot. A
 * snapshot runs `flush` on every CPU, which charges the slice in flight and
 * empties the cache, so that the hash is exact at that moment; what is charged
 * while user space reads it stays in the cache.
 *
 * Time is CLOCK_MONOTONIC on the wall: unlike the kernel's sum_exec_runtime it
 * includes interrupts and time stolen by a hypervisor.
 *
 * Includes no kernel header and no kernel structure; the few offsets that v1
 * and `cgroup_rmdir` need come from the kernel's BTF. Constants are given by
 * the loader as -D:
 *   POSSIBLE_CPUS  the width of per-CPU maps
 *   MAX_CGROUPS    entries of `usages`
 *   MAX_GONE       entries of `gone`
 *   HIERARCHY_ID   hierarchy whose removals are of interest (0: cgroup2)
 *   CGROUP_KN, CGROUP_ROOT, ROOT_HIERARCHY_ID, KERNFS_ID  offsets in bytes;
 *                  without them `cgroup_rmdir` is left out
 *   SUBSYSTEM      v1 only: which of a task's cgroups counts, an index into
 *                  css_set.subsys; then also the offsets TASK_CGROUPS,
 *                  CSS_SET_SUBSYS, CSS_CGROUP
 *   UNROLL         for kernels before 5.3, which refuse loops: compiling takes longer
 *
 * What each step costs: see README.md beside this file.
 */

#define INLINE static inline __attribute__((always_inline))

/* Slots of a CPU's cache. A power of two, because an id picks its slot by its
 * low bits: ids are handed out in sequence, so neighbours never collide. 32
 * keeps `flush` below the 4,096 instructions that kernels before 5.2 allow. */
#define SLOTS 32

/* TRACE_CGROUP_PATH_LEN of the kernel (commit e4f8d81c738d, 4.19). */
#define PATH_LEN 1024

struct slot {
    u64 id;
    u64 cpu_ns;
    u64 switches;
};

/* What `flush` copies out, so that a reader sees one moment of this CPU. */
struct totals {
    u64 at_ns;         /* CLOCK_MONOTONIC up to which all is charged */
    u64 idle_ns;       /* charged to the idle task: nobody's */
    u64 away_ns;       /* this CPU was offline */
    u64 lost_ns;       /* charged to cgroups that the full hash refused */
    u64 lost_switches;
    u64 lost_updates;
};

struct cpu_state {
    struct totals now;
    u64 flushing;
    struct totals flushed;
    u64 first_ns;      /* when this CPU was first seen: nothing earlier counts */
    struct slot slots[SLOTS];
};

struct usage {
    u64 cpu_ns;
    u64 switches;
};

struct gone {
    u64 at_ns;
    char path[PATH_LEN];
};

/* Written by every program, each on its own CPU only; read by user space.
 * Per-CPU, so that no step on the hot path needs an atomic or a lock. */
BPF_PERCPU_ARRAY(cpus, struct cpu_state, 1);

/* By CPU: 1 while it is offline, written by the CPU that takes it down or brings
 * it up, cleared by itself. Not per-CPU, since another CPU writes it. */
BPF_ARRAY(offline, u64, POSSIBLE_CPUS);

/* Cgroup id -> usage, written when a slot is emptied. A plain hash: an LRU one
 * evicts long before it is full. Preallocated: allocating inside sched_switch
 * is not safe before 6.1. User space deletes what has died. */
BPF_TABLE("percpu_hash", u64, struct usage, usages, MAX_CGROUPS);

/* Cgroup id -> last path of a cgroup that was removed, written once at its
 * rmdir, read and deleted by user space at each snapshot. */
BPF_TABLE("hash", u64, struct gone, gone, MAX_GONE);

/* Removals that found `gone` full: paths lost, never time. */
BPF_ARRAY(gone_lost, u64, 1);

/* A record is too large for the 512 bytes of a BPF stack. */
BPF_PERCPU_ARRAY(gone_scratch, struct gone, 1);

#ifdef CGROUP_KN
/* One step of a chain: a chain in one expression loads, and silently reads 0. */
INLINE u64 read_u64(u64 address)
{
    u64 value = 0;

    bpf_probe_read_kernel(&value, sizeof(value), (void *)address);
    return value;
}

INLINE u64 id_of(u64 cgroup)
{
    return read_u64(read_u64(cgroup + CGROUP_KN) + KERNFS_ID);
}
#endif

#ifdef SUBSYSTEM
/* task->cgroups->subsys[SUBSYSTEM]->cgroup: the helper knows cgroup2 only. */
INLINE u64 current_cgroup_id(void)
{
    u64 css_set = read_u64(bpf_get_current_task() + TASK_CGROUPS);
    u64 css = read_u64(css_set + CSS_SET_SUBSYS + sizeof(u64) * SUBSYSTEM);

    return id_of(read_u64(css + CSS_CGROUP));
}
#else
#define current_cgroup_id bpf_get_current_cgroup_id
#endif

INLINE void write_back(struct cpu_state *cpu, struct slot *slot)
{
    struct usage *usage = usages.lookup(&slot->id);

    if (usage) {
        usage->cpu_ns += slot->cpu_ns;
        usage->switches += slot->switches;
    } else {
        struct usage first = {slot->cpu_ns, slot->switches};

        if (usages.update(&slot->id, &first)) {
            cpu->now.lost_ns += slot->cpu_ns;
            cpu->now.lost_switches += slot->switches;
            cpu->now.lost_updates += 1;
        }
    }
    slot->cpu_ns = 0;
    slot->switches = 0;
}

/* The idle task's slice: nobody's, or, of a CPU that just came back, no time. */
INLINE void charge_idle(struct cpu_state *cpu, u64 slice)
{
    u32 number = bpf_get_smp_processor_id();
    u64 *was_offline = offline.lookup(&number);

    if (was_offline && *was_offline) {
        *was_offline = 0;
        cpu->now.away_ns += slice;
    } else {
        cpu->now.idle_ns += slice;
    }
}

/* Charges the time since this CPU was last charged to the current task. */
INLINE void charge(struct cpu_state *cpu, u64 switches)
{
    u64 now = bpf_ktime_get_ns();
    u64 slice = now - cpu->now.at_ns;
    u64 id;
    struct slot *slot;

    if (!cpu->now.at_ns) {
        cpu->now.at_ns = now;
        cpu->first_ns = now;
        return;
    }
    cpu->now.at_ns = now;
    if (!(u32)bpf_get_current_pid_tgid()) { /* the idle task of this CPU */
        charge_idle(cpu, slice);
        return;
    }
    id = current_cgroup_id();
    slot = &cpu->slots[id & (SLOTS - 1)];
    if (slot->id != id) {
        if (slot->cpu_ns | slot->switches)
            write_back(cpu, slot);
        slot->id = id;
    }
    slot->cpu_ns += slice;
    slot->switches += switches;
}

RAW_TRACEPOINT_PROBE(sched_switch)
{
    int zero = 0;
    struct cpu_state *cpu = cpus.lookup(&zero);

    if (cpu)
        charge(cpu, 1);
    return 0;
}

/* The tick of a busy CPU is a high-resolution timer, so every slice is also
 * charged at each tick: a task moved to another cgroup while it runs takes at
 * most one tick of its old cgroup's time along. Idle CPUs have no tick. */
RAW_TRACEPOINT_PROBE(hrtimer_expire_entry)
{
    int zero = 0;
    struct cpu_state *cpu = cpus.lookup(&zero);

    /* `flush` may run with interrupts on, where it was asked for on the CPU
     * that asks: then this is the interrupt, and the slice is being charged. */
    if (cpu && !cpu->flushing)
        charge(cpu, 0);
    return 0;
}

/* TP_PROTO(unsigned int cpu, int target, int idx, int (*fun)(unsigned int)): the
 * steps that take a CPU down or bring it up. Those that another CPU takes are
 * taken while it is offline, but for the first of going down, which costs it at
 * most the few idle microseconds until the next. */
RAW_TRACEPOINT_PROBE(cpuhp_enter)
{
    u32 number = ctx->args[0];
    u64 *is_offline = offline.lookup(&number);

    if (is_offline && number != bpf_get_smp_processor_id())
        *is_offline = 1;
    return 0;
}

/* Never attached: user space runs it on each CPU by BPF_PROG_TEST_RUN. */
int flush(struct bpf_raw_tracepoint_args *ctx)
{
    int zero = 0;
    struct cpu_state *cpu = cpus.lookup(&zero);

    if (!cpu)
        return 0;
    cpu->flushing = 1;
    charge(cpu, 0);
#ifdef UNROLL
#pragma unroll
#else
#pragma nounroll
#endif
    for (int i = 0; i < SLOTS; i++) {
        struct slot *slot = &cpu->slots[i];

        if (slot->cpu_ns | slot->switches)
            write_back(cpu, slot);
    }
    cpu->flushed = cpu->now;
    cpu->flushing = 0;
    return 0;
}

#ifdef CGROUP_KN
/* TP_PROTO(struct cgroup *cgrp, const char *path), fired once the directory is
 * gone. Exiting tasks may still be charged to it. */
RAW_TRACEPOINT_PROBE(cgroup_rmdir)
{
    int zero = 0;
    u64 cgroup = ctx->args[0];
    u64 id = id_of(cgroup);
    u32 hierarchy = (u32)read_u64(read_u64(cgroup + CGROUP_ROOT) + ROOT_HIERARCHY_ID);
    struct gone *record = gone_scratch.lookup(&zero);
    u64 *lost = gone_lost.lookup(&zero);

    if (!record || hierarchy != HIERARCHY_ID)
        return 0;
    record->at_ns = bpf_ktime_get_ns();
    bpf_probe_read_kernel_str(record->path, sizeof(record->path), (void *)ctx->args[1]);
    if (gone.update(&id, record) && lost)
        __sync_fetch_and_add(lost, 1);
    return 0;
}
#endif
