// Runs the blocks of a launch one after another, and says what went wrong.
#pragma once
#include "scheduler.hpp"

namespace emulator {

inline void describe_divergence() {
  Machine& m = *machine;
  int used = snprintf(m.message, sizeof m.message, "block (%u, %u): threads diverged: %d of %d ended", m.block.x, m.block.y,
                      m.threads - m.running, m.threads);
  const Place* seen[8];
  int places = 0;
  for (int i = 0; i < m.threads && places < 8; i++) {
    const Place* at = m.fibers[i].waits;
    bool known = !at;
    for (int j = 0; j < places; j++) known |= at && *seen[j] == *at;
    if (known) continue;
    seen[places++] = at;
    int first = i, count = 0;
    for (int j = i; j < m.threads; j++) count += m.fibers[j].waits && *m.fibers[j].waits == *at;
    used += snprintf(m.message + used, sizeof m.message - used, "; %d wait at %s %s:%d, the first is thread %d", count,
                     at->what, at->file, at->line, first);
    if (used >= (int)sizeof m.message) return;
  }
}

extern "C" __attribute__((visibility("hidden"))) char __bss_start[], _end[];

inline void run_block(u32 turn) {
  Machine& m = *machine;
  const int garbage = turn % 2 ? 0x5c : 0xa5;
  memset(__bss_start, garbage, _end - __bss_start);
  memset(m.shared, garbage, m.shared_bytes + PAGE);
  memset(m.arrived, 0, sizeof m.arrived);
  m.running = m.threads, m.at_barrier = m.barrier_turn = m.barrier_votes[0] = 0;
  m.ready_first = m.ready_count = 0;
  for (int i = 0; i < m.threads; i++) {
    Fiber& f = m.fibers[i];
    f.thread = {i % m.block_size.x, i / m.block_size.x, 0};
    f.number = i, f.ended = false, f.waits = nullptr, f.copy_count = f.group_count = 0;
    // Stacks end at different places of a page, so that all of them have room in the first cache.
    f.context.begin(m.stacks + i * (STACK + PAGE) + PAGE, STACK - i * 192 % PAGE, fiber_main);
    make_ready(i);
  }
  m.fiber = take_ready();
  m.home.go(m.fiber->context);
  if (m.message[0]) return;
  if (m.running) return describe_divergence();
  for (u32 at = m.shared_bytes; at < m.shared_bytes + PAGE; at++)
    if (m.shared[at] != garbage) {
      snprintf(m.message, sizeof m.message, "block (%u, %u): wrote behind its dynamic shared memory of %u bytes, at %u",
               m.block.x, m.block.y, m.shared_bytes, at);
      return;
    }
}

inline void on_fault(int, siginfo_t* info, void*) {
  const Fiber& f = *machine->fiber;
  const Index& b = machine->block;
  snprintf(machine->message, sizeof machine->message, "block (%u, %u) thread %d: no memory at %p", b.x, b.y, f.number,
           info->si_addr);
  siglongjmp(machine->fault, 1);
}

// The blocks one after another; a fault ends them with a message rather than the process.
inline void run_blocks(u32 grid_x, u32 grid_y) {
  Machine& m = *machine;
  static constexpr int SIGNALS[] = {SIGSEGV, SIGBUS};
  struct sigaction ours = {}, before[2];
  stack_t stack = {}, stack_before;
  stack.ss_size = 1 << 16;
  stack.ss_sp = malloc(stack.ss_size);
  ours.sa_sigaction = on_fault;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaltstack(&stack, &stack_before);
  for (int i = 0; i < 2; i++) sigaction(SIGNALS[i], &ours, &before[i]);
  if (sigsetjmp(m.fault, 1) == 0) {
    const u64 blocks = (u64)grid_x * grid_y, start = m.random ? next_random() % blocks : 0;
    const bool backwards = m.random && next_random() % 2;
    for (u64 i = 0; i < blocks && !m.message[0]; i++) {
      const u64 block = (start + (backwards ? blocks - i : i)) % blocks;
      m.block = {(u32)(block % grid_x), (u32)(block / grid_x), 0};
      run_block((u32)i);
    }
  }
  for (int i = 0; i < 2; i++) sigaction(SIGNALS[i], &before[i], nullptr);
  if (stack_before.ss_flags & SS_DISABLE) stack_before.ss_size = MINSIGSTKSZ;
  sigaltstack(&stack_before, nullptr);
  free(stack.ss_sp);
}

}  // namespace emulator

struct EmulatedLaunch {  // as in emulated.py
  const void* argument;
  int number;
  u32 grid_x, grid_y, threads, shared_bytes, unused;
  u64 seed;
  char message[1024];  // empty where all went well
};

extern "C" __attribute__((visibility("default"))) void negmine_emulate(void (*kernel)(const void*, int), EmulatedLaunch* launch) {
  using namespace emulator;
  if (launch->threads == 0 || launch->threads > THREADS_MAX || launch->threads % WARP || launch->shared_bytes > SHARED_MAX ||
      launch->grid_x == 0 || launch->grid_y == 0 || launch->grid_y > 65535) {
    snprintf(launch->message, sizeof launch->message, "a launch of %u x %u blocks of %u threads with %u bytes is refused",
             launch->grid_x, launch->grid_y, launch->threads, launch->shared_bytes);
    return;
  }
  if (!machine) {
    machine = (Machine*)calloc(1, sizeof(Machine));
    machine->shared = (u8*)aligned_alloc(128, SHARED_MAX + PAGE);
  }
  Machine& m = *machine;
  m.kernel = kernel, m.argument = launch->argument, m.number = launch->number;
  m.blocks = {launch->grid_x, launch->grid_y, 1}, m.block_size = {launch->threads, 1, 1};
  m.threads = launch->threads, m.shared_bytes = launch->shared_bytes;
  m.random = launch->seed * 0x9e3779b97f4a7c15ull;
  m.message[0] = 0;
  // For this launch alone: each guard page splits a mapping, of which a process with many libraries has too few.
  const size_t bytes = launch->threads * (STACK + PAGE);
  m.stacks = (u8*)mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  for (u32 i = 0; i < launch->threads; i++) mprotect(m.stacks + i * (STACK + PAGE), PAGE, PROT_NONE);
  run_blocks(launch->grid_x, launch->grid_y);
  munmap(m.stacks, bytes);
  memcpy(launch->message, m.message, sizeof m.message);
}
