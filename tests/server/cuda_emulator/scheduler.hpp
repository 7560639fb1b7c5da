// Runs the threads of a block as fibers on one CPU thread. A fiber runs until it waits; what it waits for says who else
// must come. When nobody can run and somebody waits, the block's threads have diverged, which is an error.
//
// Everything lives on the heap behind one thread_local pointer: the library's zero-initialised data is then the kernels'
// static shared memory and nothing else, and can be filled with garbage when a block starts.
#pragma once
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

namespace emulator {

constexpr int WARP = 32, THREADS_MAX = 1024, PAGE = 4096;
constexpr size_t STACK = 1 << 18, SHARED_MAX = 227 << 10;

struct Index { u32 x, y, z; };
struct Copy { void* to; const void* from; };

struct Place {  // what a fiber waits for, and where in the source
  const char* what;
  const char* file;
  int line;
  bool operator==(const Place& other) const {
    return what == other.what && line == other.line && strcmp(file, other.file) == 0;
  }
};

#if defined(__x86_64__)
// Pushes what a call preserves, changes stacks, and pops the other's.
extern "C" __attribute__((visibility("hidden"))) void negmine_switch(void** from, void* to);
asm(".text\nnegmine_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");
struct Context {
  void* at;
  void begin(u8* stack, void (*entry)()) {
    void** top = (void**)(stack + STACK) - 8;
    top[6] = (void*)entry;
    top[7] = nullptr;
    at = top;
  }
  void go(Context& next) { negmine_switch(&at, next.at); }
};
#else
struct Context {
  ucontext_t at;
  void begin(u8* stack, void (*entry)()) {
    getcontext(&at);
    at.uc_stack.ss_sp = stack;
    at.uc_stack.ss_size = STACK;
    at.uc_link = nullptr;
    makecontext(&at, entry, 0);
  }
  void go(Context& next) { swapcontext(&at, &next.at); }
};
#endif

constexpr int COPIES_MAX = 256;
struct Fiber {
  Context context;
  Index thread;
  int number;
  bool ended;
  const Place* waits;
  // Copies on their way, in order; group_ends[i] is the number of copies up to the end of closed group i.
  Copy copies[COPIES_MAX];
  int copy_count, group_ends[COPIES_MAX], group_count;
};

// What one lane brings to an instruction of its whole warp. The last lane that comes does the work of all.
typedef void (*Together)(void* const (&lanes)[WARP], u32 mask);
struct Lane { Together together; u32 mask; void* request; };

struct Machine {
  Fiber fibers[THREADS_MAX];
  Lane lanes[THREADS_MAX];
  int ready[THREADS_MAX], ready_first, ready_count;
  int threads, running, at_barrier, barrier_votes[2], barrier_result[2], barrier_turn;
  Context home;
  Fiber* fiber;
  Index block, blocks, block_size;
  u8* stacks;
  u8* shared;  // the dynamic part; what follows it must stay as it is
  u32 shared_bytes;
  u64 random;  // 0 = first come, first served
  void (*kernel)(const void*, int);
  const void* argument;
  int number;
  char message[1024];
  sigjmp_buf fault;
};

static thread_local Machine* machine;

inline u64 next_random() {
  u64& x = machine->random;
  x ^= x << 13, x ^= x >> 7, x ^= x << 17;
  return x;
}

[[noreturn]] inline void fail(const char* format, ...) {
  const Fiber& f = *machine->fiber;
  const Index& b = machine->block;
  const int used = snprintf(machine->message, sizeof machine->message, "block (%u, %u) thread %d: ", b.x, b.y, f.number);
  va_list rest;
  va_start(rest, format);
  vsnprintf(machine->message + used, sizeof machine->message - used, format, rest);
  va_end(rest);
  machine->fiber->context.go(machine->home);
  __builtin_unreachable();
}

inline void make_ready(int number) {
  Machine& m = *machine;
  m.ready[(m.ready_first + m.ready_count++) % THREADS_MAX] = number;
}

// The next one to run: who became ready first, or with a seed anybody.
inline Fiber* take_ready() {
  Machine& m = *machine;
  int& first = m.ready[m.ready_first];
  if (m.random) {
    int& other = m.ready[(m.ready_first + next_random() % m.ready_count) % THREADS_MAX];
    const int kept = first;
    first = other, other = kept;
  }
  m.ready_first = (m.ready_first + 1) % THREADS_MAX, m.ready_count--;
  return &m.fibers[first];
}

// Runs whoever is ready, or goes home where nobody is.
inline void run_another() {
  Machine& m = *machine;
  Fiber& before = *m.fiber;
  if (m.ready_count == 0) {
    before.context.go(m.home);
    return;
  }
  m.fiber = take_ready();
  if (m.fiber != &before) before.context.go(m.fiber->context);
}

inline void let_others() {
  make_ready(machine->fiber->number);
  run_another();
}

// An atomic operation is where threads meet without waiting: with a seed others may come between.
inline void meet() {
  if (machine->random && next_random() % 4 == 0) let_others();
}

inline void wait_at(const Place& place) {
  Fiber& me = *machine->fiber;
  me.waits = &place;
  run_another();
  me.waits = nullptr;
}

// Every lane of the mask brings a request to the same instruction; the last one does the work and wakes the others.
inline void bring(Together together, u32 mask, void* request, const Place& place) {
  Machine& m = *machine;
  const int me = m.fiber->number, first = me / WARP * WARP;
  if (!(mask >> (me - first) & 1)) fail("%s at %s:%d without its own lane in the mask", place.what, place.file, place.line);
  m.lanes[me] = {together, mask, request};
  void* requests[WARP] = {};
  bool all = true;
  for (int i = 0; i < WARP; i++) {
    if (!(mask >> i & 1)) continue;
    const Lane& lane = m.lanes[first + i];
    all &= lane.together == together && lane.mask == mask;
    requests[i] = lane.request;
  }
  if (!all) return wait_at(place);
  together(requests, mask);
  for (int i = 0; i < WARP; i++) {
    if (!(mask >> i & 1)) continue;
    m.lanes[first + i] = {};
    if (first + i != me) make_ready(first + i);
  }
  meet();
}

// The barrier of the block; gives how many votes there were. All threads must come to the same one.
inline int barrier(int vote, const Place& place) {
  Machine& m = *machine;
  const int turn = m.barrier_turn;
  m.barrier_votes[turn] += vote != 0;
  m.at_barrier++;
  Fiber& me = *m.fiber;
  const bool last = m.at_barrier == m.threads;
  if (!last) {
    wait_at(place);
    return m.barrier_result[turn];
  }
  for (int i = 0; i < m.threads; i++) {
    if (i == me.number) continue;
    if (!(*m.fibers[i].waits == place))
      fail("waits at %s %s:%d, thread %d at %s:%d: divergent barriers", place.what, place.file, place.line, i,
           m.fibers[i].waits->file, m.fibers[i].waits->line);
    make_ready(i);
  }
  m.barrier_result[turn] = m.barrier_votes[turn];
  m.barrier_turn = 1 - turn, m.barrier_votes[1 - turn] = 0, m.at_barrier = 0;
  meet();
  return m.barrier_result[turn];
}

inline void fiber_main() {
  machine->kernel(machine->argument, machine->number);
  machine->fiber->ended = true;
  machine->running--;
  run_another();
}

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
  memset(m.lanes, 0, sizeof m.lanes);
  m.running = m.threads, m.at_barrier = m.barrier_turn = m.barrier_votes[0] = 0;
  m.ready_first = m.ready_count = 0;
  for (int i = 0; i < m.threads; i++) {
    Fiber& f = m.fibers[i];
    f.thread = {i % m.block_size.x, i / m.block_size.x, 0};
    f.number = i, f.ended = false, f.waits = nullptr, f.copy_count = f.group_count = 0;
    f.context.begin(m.stacks + i * (STACK + PAGE) + PAGE, fiber_main);
    make_ready(i);
  }
  m.fiber = take_ready();
  m.home.go(m.fiber->context);
  if (m.message[0]) return;
  if (m.running) return describe_divergence();
  for (u32 i = 0; i < PAGE; i++)
    if (m.shared[m.shared_bytes + i] != garbage) {
      snprintf(m.message, sizeof m.message, "block (%u, %u): wrote behind its dynamic shared memory of %u bytes, at %u", m.block.x,
               m.block.y, m.shared_bytes, m.shared_bytes + i);
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
    const size_t bytes = THREADS_MAX * (STACK + PAGE);
    machine->stacks = (u8*)mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (int i = 0; i < THREADS_MAX; i++) mprotect(machine->stacks + i * (STACK + PAGE), PAGE, PROT_NONE);
    machine->shared = (u8*)aligned_alloc(128, SHARED_MAX + PAGE);
  }
  Machine& m = *machine;
  m.kernel = kernel, m.argument = launch->argument, m.number = launch->number;
  m.blocks = {launch->grid_x, launch->grid_y, 1}, m.block_size = {launch->threads, 1, 1};
  m.threads = launch->threads, m.shared_bytes = launch->shared_bytes;
  m.random = launch->seed * 0x9e3779b97f4a7c15ull;
  m.message[0] = 0;
  run_blocks(launch->grid_x, launch->grid_y);
  memcpy(launch->message, m.message, sizeof m.message);
}
