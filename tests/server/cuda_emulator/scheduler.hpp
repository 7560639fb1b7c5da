// Runs the threads of a block as fibers on one CPU thread. A fiber runs until it waits; what it waits for says who else
// must come. When nobody can run and somebody waits, the block's threads have diverged, which is an error.
//
// Everything lives on the heap behind one pointer, which is kept out of .bss: the library's zero-initialised data is then
// the kernels' static shared memory and nothing else, and can be filled with garbage when a block starts.
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
  void begin(u8* stack, size_t bytes, void (*entry)()) {
    void** top = (void**)(stack + bytes) - 8;
    top[6] = (void*)entry;
    top[7] = nullptr;
    at = top;
  }
  void go(Context& next) { negmine_switch(&at, next.at); }
};
#else
struct Context {
  ucontext_t at;
  void begin(u8* stack, size_t bytes, void (*entry)()) {
    getcontext(&at);
    at.uc_stack.ss_sp = stack;
    at.uc_stack.ss_size = bytes;
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
  u32 arrived[THREADS_MAX / WARP];  // lanes of a warp that wait in `bring`
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

__attribute__((section(".data"))) static Machine* machine = nullptr;

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
  u32& arrived = m.arrived[me / WARP];
  arrived |= 1u << (me - first);
  if ((arrived & mask) != mask) return wait_at(place);
  void* requests[WARP];
  bool all = true;
  for (int i = 0; i < WARP; i++) {
    if (!(mask >> i & 1)) continue;
    const Lane& lane = m.lanes[first + i];
    all &= lane.together == together && lane.mask == mask;
    requests[i] = lane.request;
  }
  if (!all) return wait_at(place);
  together(requests, mask);
  arrived &= ~mask;
  for (int i = 0; i < WARP; i++)
    if (mask >> i & 1 && first + i != me) make_ready(first + i);
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

}  // namespace emulator
