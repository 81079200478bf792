// Test-only stand-in for libamdhip64.so: pretend gfx942 devices in host memory. It runs no GPU code; a launch writes a tag
// (tags.c) that says which device drew which batch, or is handed to whoever asked for it (hipstub_launch: scripts/emulated_hip.py).
// Never a measurement, never scored.
//
// Copies, fills and tags act when they are issued; time is virtual: work moves its stream's `ready` forward, and events become
// ready then. Environment, read when the library is loaded and by hipstub_reload(). A SPEC is a comma list DEVICE:K[:ARG], each of
// DEVICE (index) and K (from 1, counted per device since load or reload) may be '*'; K may end in '+': that one and all later ones.
//   HIPSTUB_DEVICES=64  HIPSTUB_ARCH=gfx942  HIPSTUB_MEMORY_MIB=32768 (a device's)  HIPSTUB_SAME_UUIDS=1  HIPSTUB_KERNEL_US=0
//   HIPSTUB_OOM=SPEC     K-th device allocation fails       HIPSTUB_PINNED_OOM=SPEC  K-th pinned one
//   HIPSTUB_REFUSE=SPEC  K-th launch is refused (719)       HIPSTUB_FAULT=SPEC  K-th launch succeeds, its events report ARG (700)
//   HIPSTUB_HANG=SPEC    K-th launch never ends             HIPSTUB_BLOCK=SPEC  K-th launch call does not return
//   HIPSTUB_SLOW=SPEC    K-th launch takes ARG ms (100)     HIPSTUB_ABORT=SPEC  K-th launch aborts, as ROCr does on a memory fault
// Both hangs end with hipstub_release().
#define _GNU_SOURCE
#include <elf.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "stub.h"

#define API __attribute__((visibility("default")))
typedef int Result;  // hipError_t
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, INVALID_IMAGE = 200, INVALID_CONTEXT = 201, NO_BINARY = 209,
       INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600, ILLEGAL_ADDRESS = 700, LAUNCH_FAILURE = 719, NOT_SUPPORTED = 801 };
enum { MAX_DEVICES = 1024, MAX_STACK = 4096 };
enum { ALLOCATIONS, PINNED_ALLOCATIONS, LAUNCHES, FOREIGN_POINTERS, BYTES, PINNED_BYTES, MODULES, CONTEXTS, COUNTERS };  // hipstub_count
enum { OOM, PINNED_OOM, REFUSE, FAULT, HANG, BLOCK, SLOW, ABORT, SPECS };

typedef struct { int id; double ready; int64_t count[COUNTERS]; } Device;
typedef struct { Device* device; double ready; Result error; } Stream;  // and event
typedef struct { Device* device; uint8_t* image; size_t size; } Module;
typedef struct { Module* module; unsigned lds, args; char name[]; } Function;
typedef struct { char* start; size_t size; Device* device; int pinned; } Allocation;

static const char* const spec_names[SPECS] = {"OOM", "PINNED_OOM", "REFUSE", "FAULT", "HANG", "BLOCK", "SLOW", "ABORT"};
static char specs[SPECS][256], arch[16];
static Device devices[MAX_DEVICES];
static int device_count, same_uuids;
static int64_t memory;
static double kernel_seconds, released;  // what would be ready later than now and was hung at `released` is ready
static Allocation* table;
static size_t used, capacity;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;  // on CLOCK_MONOTONIC
static __thread Device* stack[MAX_STACK];
static __thread int depth;
static __thread Result last;
// Runs launches instead of tags.c when set: 0 when done. `dims`: workgroups and threads by x, y, z. Called with the stub locked.
typedef Result Launched(const uint8_t* image, size_t size, const char* name, const unsigned* dims, void** args);
static Launched* launched;

#define LOCKED(...) do { pthread_mutex_lock(&mutex); __VA_ARGS__; pthread_mutex_unlock(&mutex); } while (0)
static Result report(Result r) { if (r) last = r; return r; }
static Device* current(void) { return depth ? stack[depth - 1] : &devices[0]; }
static Device* owner(Stream* s) { return s ? s->device : current(); }
static int known(int d) { return d >= 0 && d < device_count; }
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec * 1e-9; }

static const char* setting(const char* name, const char* otherwise) {
  char full[64];
  snprintf(full, sizeof full, "HIPSTUB_%s", name);
  const char* value = getenv(full);
  return value && *value ? value : otherwise;
}
static void load(void) {
  device_count = atoi(setting("DEVICES", "64"));
  if (device_count > MAX_DEVICES) device_count = MAX_DEVICES;
  same_uuids = atoi(setting("SAME_UUIDS", "0"));
  memory = atoll(setting("MEMORY_MIB", "32768")) << 20;
  kernel_seconds = atof(setting("KERNEL_US", "0")) * 1e-6;
  snprintf(arch, sizeof arch, "%s", setting("ARCH", "gfx942"));
  for (int i = 0; i < SPECS; i++) snprintf(specs[i], sizeof specs[i], "%s", setting(spec_names[i], ""));
  for (int i = 0; i < MAX_DEVICES; i++) {
    devices[i].id = i;
    devices[i].count[ALLOCATIONS] = devices[i].count[PINNED_ALLOCATIONS] = devices[i].count[LAUNCHES] = 0;
  }
}
__attribute__((constructor)) static void start(void) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&changed, &attributes);
  load();
}
// ---- for tests, by ctypes on the same file ----
API void hipstub_launch(Launched* runs) { LOCKED(launched = runs); }
API void hipstub_reload(void) { LOCKED(load()); }
API int64_t hipstub_count(int device, int what) { return devices[device].count[what]; }
API void hipstub_release(void) { LOCKED(released = now(); pthread_cond_broadcast(&changed)); }

// Whether spec `s` names the k-th happening on device `d`, said on stderr; its ARG, if it has one, goes to *arg.
static int named(int s, int d, int64_t k, double* arg) {
  for (const char* p = specs[s]; *p; p = strchrnul(p, ','), p += *p == ',') {
    char device[16], nth[16];
    double value = *arg;
    if (sscanf(p, "%15[^:,]:%15[^:,]:%lf", device, nth, &value) < 2) continue;
    long long n = atoll(nth);
    if (*device != '*' && atoi(device) != d) continue;
    if (*nth != '*' && (strchr(nth, '+') ? k < n : k != n)) continue;
    *arg = value;
    fprintf(stderr, "hipstub: %s on device %d, number %lld\n", spec_names[s], d, (long long)k);
    return 1;
  }
  return 0;
}
// A hang is `ready` at infinity. Once released, everything that hung is ready.
static int pending(double ready) { return isinf(ready) ? !released : ready > now(); }
static void wait_for(const double* ready) {
  pthread_mutex_lock(&mutex);
  while (pending(*ready)) {
    double until = isinf(*ready) ? now() + 3600 : *ready;
    struct timespec t = {(time_t)until, (long)((until - (time_t)until) * 1e9)};
    pthread_cond_timedwait(&changed, &mutex, &t);
  }
  pthread_mutex_unlock(&mutex);
}
static void work(Stream* s, double seconds) {  // locked
  double from = pending(s->ready) ? s->ready : now();
  s->ready = from + seconds;
  if (s->ready > s->device->ready) s->device->ready = s->ready;
}

// ---- devices and contexts ----
API Result hipInit(unsigned flags) { return OK; }
API Result hipGetDeviceCount(int* n) { *n = device_count; return OK; }
API Result hipDeviceGet(int* d, int i) { *d = i; return known(i) ? OK : report(INVALID_DEVICE); }
API Result hipDeviceGetName(char* text, int n, int d) {
  if (!known(d)) return report(INVALID_DEVICE);
  snprintf(text, n, "stub of an AMD Instinct (%s)", arch);
  return OK;
}
API Result hipDeviceGetUuid(char* uuid, int d) {
  char text[24];
  snprintf(text, sizeof text, "57ab%012x", same_uuids ? d / 8 : d);  // partitions of one GPU may show its UUID
  memcpy(uuid, text, 16);
  return known(d) ? OK : report(INVALID_DEVICE);
}
API Result hipDeviceGetAttribute(int* value, int attribute, int d) {
  if (!known(d)) return report(INVALID_DEVICE);
  *value = attribute == 9 || attribute == 88 ? 1  // ConcurrentManagedAccess, MemoryPoolsSupported
           : attribute >= 26 && attribute <= 28 ? 1024  // MaxBlockDimX, Y, Z
           : attribute == 74 ? 65536 : 0;  // MaxSharedMemoryPerBlock
  return OK;
}
API Result hipDevicePrimaryCtxRetain(Device** context, int d) {
  if (!known(d)) return report(INVALID_DEVICE);
  LOCKED(devices[d].count[CONTEXTS]++);
  *context = &devices[d];
  return OK;
}
API Result hipDevicePrimaryCtxRelease(int d) { LOCKED(devices[d].count[CONTEXTS]--); return OK; }
API Result hipCtxSetCurrent(Device* d) { if (!depth) depth = 1; stack[depth - 1] = d; return OK; }
API Result hipCtxGetCurrent(Device** d) { *d = depth ? stack[depth - 1] : NULL; return OK; }
API Result hipCtxPushCurrent(Device* d) { if (depth == MAX_STACK) abort(); stack[depth++] = d; return OK; }
API Result hipCtxPopCurrent(Device** d) {
  if (!depth) return report(INVALID_CONTEXT);
  depth--;
  if (d) *d = stack[depth];
  return OK;
}
API Result hipSetDevice(int d) { return known(d) ? hipCtxSetCurrent(&devices[d]) : report(INVALID_DEVICE); }
API Result hipDeviceCanAccessPeer(int* can, int a, int b) { *can = a != b; return OK; }
API Result hipDeviceEnablePeerAccess(int peer, unsigned flags) { return OK; }
API Result hipGetLastError(void) { Result r = last; last = OK; return r; }

// ---- memory ----
static Result allocate(void** out, size_t size, int pinned, Device* d) {
  double error = OUT_OF_MEMORY;
  *out = NULL;
  pthread_mutex_lock(&mutex);
  int64_t k = ++d->count[pinned ? PINNED_ALLOCATIONS : ALLOCATIONS];
  int full = !pinned && d->count[BYTES] + (int64_t)size > memory;
  void* start = full || named(pinned ? PINNED_OOM : OOM, d->id, k, &error) ? MAP_FAILED
      : mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start != MAP_FAILED) {
    if (used == capacity) table = realloc(table, sizeof *table * (capacity = capacity ? capacity * 2 : 1024));
    table[used++] = (Allocation){start, size, d, pinned};
    d->count[pinned ? PINNED_BYTES : BYTES] += size;
    *out = start;
  }
  pthread_mutex_unlock(&mutex);
  return start == MAP_FAILED ? report((Result)error) : OK;
}
static Allocation* find(const char* p) {  // locked
  for (size_t i = 0; i < used; i++)
    if (p >= table[i].start && p < table[i].start + table[i].size) return &table[i];
  return NULL;
}
static Result release(char* p) {
  if (!p) return OK;
  pthread_mutex_lock(&mutex);
  Allocation* found = find(p);
  Allocation gone = found ? *found : (Allocation){0};
  if (found) {
    *found = table[--used];
    gone.device->count[gone.pinned ? PINNED_BYTES : BYTES] -= gone.size;
  }
  pthread_mutex_unlock(&mutex);
  if (!found) return report(INVALID_VALUE);
  wait_for(&gone.device->ready);  // as the real hipFree: until the device is idle
  munmap(gone.start, gone.size ? gone.size : 1);
  return OK;
}
API Result hipMalloc(void** p, size_t n) { return allocate(p, n, 0, current()); }
API Result hipMallocAsync(void** p, size_t n, Stream* s) { return allocate(p, n, 0, owner(s)); }
API Result hipMallocFromPoolAsync(void** p, size_t n, Device* pool, Stream* s) { return allocate(p, n, 0, pool); }
API Result hipMallocManaged(void** p, size_t n, unsigned flags) { return allocate(p, n, 0, current()); }
API Result hipHostMalloc(void** p, size_t n, unsigned flags) { return allocate(p, n, 1, current()); }
API Result hipFree(void* p) { return release(p); }
API Result hipFreeAsync(void* p, Stream* s) { return release(p); }
API Result hipHostFree(void* p) { return release(p); }
API Result hipHostGetDevicePointer(void** d, void* h, unsigned flags) { *d = h; return OK; }
API Result hipHostRegister(void* p, size_t n, unsigned flags) { return OK; }
API Result hipHostUnregister(void* p) { return OK; }
API Result hipMemPrefetchAsync(const void* p, size_t n, int d, Stream* s) { return OK; }
API Result hipMemPoolCreate(Device** pool, const int* properties) { *pool = &devices[known(properties[3]) ? properties[3] : 0]; return OK; }
API Result hipMemPoolDestroy(Device* pool) { return OK; }
API Result hipMemPoolSetAttribute(Device* pool, int attribute, void* value) { return OK; }
API Result hipMemPoolGetAttribute(Device* pool, int attribute, uint64_t* value) { *value = pool->count[BYTES]; return OK; }
API Result hipMemPoolTrimTo(Device* pool, size_t n) { return OK; }
API Result hipMemcpy(void* d, const void* s, size_t n, int kind) { wait_for(&current()->ready); memmove(d, s, n); return OK; }
API Result hipMemcpyAsync(void* d, const void* s, size_t n, int kind, Stream* st) { memmove(d, s, n); return OK; }
API Result hipMemcpyHtoDAsync(void* d, void* s, size_t n, Stream* st) { memmove(d, s, n); return OK; }
API Result hipMemset(void* p, int value, size_t n) { memset(p, value, n); return OK; }
API Result hipMemsetAsync(void* p, int value, size_t n, Stream* s) { memset(p, value, n); return OK; }
API Result hipMemsetD8Async(void* p, uint8_t value, size_t n, Stream* s) { memset(p, value, n); return OK; }
API Result hipMemsetD16Async(uint16_t* p, uint16_t value, size_t n, Stream* s) { while (n--) *p++ = value; return OK; }
API Result hipMemsetD32Async(uint32_t* p, uint32_t value, size_t n, Stream* s) { while (n--) *p++ = value; return OK; }

// ---- streams and events ----
API Result hipStreamCreateWithFlags(Stream** s, unsigned flags) {
  *s = calloc(1, sizeof **s);
  (*s)->device = current();
  return OK;
}
API Result hipStreamDestroy(Stream* s) { free(s); return OK; }
API Result hipStreamSynchronize(Stream* s) { wait_for(s ? &s->ready : &current()->ready); return report(s ? s->error : OK); }
API Result hipStreamWaitEvent(Stream* s, Stream* event, unsigned flags) {
  LOCKED(if (event->ready > s->ready) s->ready = event->ready; if (event->error) s->error = event->error);
  return OK;
}
API Result hipEventCreateWithFlags(Stream** e, unsigned flags) { return hipStreamCreateWithFlags(e, flags); }
API Result hipEventCreate(Stream** e) { return hipStreamCreateWithFlags(e, 0); }
API Result hipEventDestroy(Stream* e) { free(e); return OK; }
API Result hipEventRecord(Stream* e, Stream* s) {
  if (s && s->device != e->device) return report(INVALID_HANDLE);  // HIP refuses an event of another device
  LOCKED(e->ready = s ? s->ready : 0; e->error = s ? s->error : OK);
  return OK;
}
API Result hipEventQuery(Stream* e) { return pending(e->ready) ? NOT_READY : report(e->error); }
API Result hipEventSynchronize(Stream* e) { wait_for(&e->ready); return report(e->error); }
API Result hipEventElapsedTime(float* ms, Stream* a, Stream* b) { *ms = (b->ready - a->ready) * 1e3; return OK; }
API Result hipLaunchHostFunc(Stream* s, void (*function)(void*), void* data) { wait_for(&s->ready); function(data); return OK; }

// ---- modules and launches ----
// The 64-byte kernel descriptor "<name>.kd" in an AMDGPU ELF image: LDS bytes at 0, bytes of arguments at 8.
static const uint32_t* descriptor(const uint8_t* image, const char* name) {
  const Elf64_Ehdr* header = (const Elf64_Ehdr*)image;
  const Elf64_Shdr* section = (const Elf64_Shdr*)(image + header->e_shoff);
  char wanted[512];
  snprintf(wanted, sizeof wanted, "%s.kd", name);
  for (int i = 0; i < header->e_shnum; i++) {
    if (section[i].sh_type != SHT_DYNSYM && section[i].sh_type != SHT_SYMTAB) continue;
    const Elf64_Sym* symbols = (const Elf64_Sym*)(image + section[i].sh_offset);
    const char* names = (const char*)image + section[section[i].sh_link].sh_offset;
    for (size_t j = 0; j < section[i].sh_size / sizeof *symbols; j++) {
      const Elf64_Shdr* in = &section[symbols[j].st_shndx];
      if (symbols[j].st_shndx < header->e_shnum && !strcmp(names + symbols[j].st_name, wanted))
        return (const uint32_t*)(image + in->sh_offset + (symbols[j].st_value - in->sh_addr));
    }
  }
  return NULL;
}
API Result hipModuleLoadData(Module** m, const uint8_t* image) {
  static const struct { const char* arch; unsigned machine; } machines[] = {{"gfx942", 0x4c}, {"gfx950", 0x4f}, {"gfx1100", 0x41}};
  if (memcmp(image, ELFMAG, SELFMAG)) return report(INVALID_IMAGE);
  unsigned machine = ((const Elf64_Ehdr*)image)->e_flags & 0xff;  // EF_AMDGPU_MACH
  for (unsigned i = 0; i < sizeof machines / sizeof *machines; i++)
    if (!strcmp(arch, machines[i].arch) && machines[i].machine != machine) return report(NO_BINARY);
  const Elf64_Ehdr* header = (const Elf64_Ehdr*)image;
  size_t size = header->e_shoff + (size_t)header->e_shnum * header->e_shentsize;  // lld ends a file with its section table
  *m = calloc(1, sizeof **m);
  **m = (Module){current(), memcpy(malloc(size), image, size), size};  // IREE's is valid only while it loads it
  LOCKED(current()->count[MODULES]++);
  return OK;
}
API Result hipModuleLoadDataEx(Module** m, const void* image, unsigned n, void* o, void** v) { return hipModuleLoadData(m, image); }
API Result hipModuleUnload(Module* m) { LOCKED(m->device->count[MODULES]--); free(m->image); free(m); return OK; }
API Result hipModuleGetFunction(Function** f, Module* m, const char* name) {
  const uint32_t* found = descriptor(m->image, name);
  if (!found) return report(NOT_FOUND);
  *f = calloc(1, sizeof **f + strlen(name) + 1);  // lives until the process ends
  (*f)->module = m;
  (*f)->lds = found[0];
  (*f)->args = found[2] / sizeof(void*);
  strcpy((*f)->name, name);
  return OK;
}
API Result hipModuleGetGlobal(void** p, size_t* n, Module* m, const char* name) { return report(NOT_FOUND); }
API Result hipFuncGetAttribute(int* value, int attribute, const Function* f) { *value = attribute == 1 ? (int)f->lds : 0; return OK; }
API Result hipFuncSetAttribute(const Function* f, int attribute, int value) { return OK; }
API Result hipModuleLaunchKernel(Function* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                                 unsigned lds, Stream* s, void** args, void** extra) {
  Device* d = s->device;
  static const double forever = INFINITY;
  double arg = LAUNCH_FAILURE, ms = 100, fault = ILLEGAL_ADDRESS;
  pthread_mutex_lock(&mutex);
  int64_t k = ++d->count[LAUNCHES];
  for (unsigned i = 0; i < f->args; i++) {
    Allocation* a = find(*(char**)args[i]);
    if (a && a->device != d) d->count[FOREIGN_POINTERS]++;
  }
  const unsigned dims[] = {gx, gy, gz, bx, by, bz};
  Result r = named(REFUSE, d->id, k, &arg) ? (Result)arg
             : launched ? launched(f->module->image, f->module->size, f->name, dims, args)
             : write_tag(f->name, args, f->args, d->id) ? OK : NOT_SUPPORTED;
  if (r == NOT_SUPPORTED && !launched) fprintf(stderr, "hipstub: no tag for kernel %s of %u arguments\n", f->name, f->args);
  work(s, named(HANG, d->id, k, &arg) ? forever : named(SLOW, d->id, k, &ms) ? ms * 1e-3 : kernel_seconds);
  if (named(FAULT, d->id, k, &fault)) s->error = (Result)fault;
  int blocks = named(BLOCK, d->id, k, &arg);
  if (named(ABORT, d->id, k, &arg)) { fprintf(stderr, "Memory access fault by GPU node-%d (stub)\n", d->id); abort(); }
  pthread_mutex_unlock(&mutex);
  if (blocks) wait_for(&forever);
  return report(r);
}

// ---- names that the driver wants and, with its default streams, never calls ----
#define UNUSED(name) API Result name(void) { return report(NOT_SUPPORTED); }
UNUSED(hipGetDeviceProperties) UNUSED(hipLaunchKernel) UNUSED(hipGraphCreate) UNUSED(hipGraphDestroy) UNUSED(hipGraphInstantiate)
UNUSED(hipGraphExecDestroy) UNUSED(hipGraphLaunch) UNUSED(hipGraphAddEmptyNode) UNUSED(hipGraphAddEventRecordNode)
UNUSED(hipGraphAddKernelNode) UNUSED(hipGraphAddMemsetNode) UNUSED(hipDrvGraphAddMemcpyNode)

static const struct { Result code; const char *name, *text; } errors[] = {
    {OK, "hipSuccess", "no error"}, {INVALID_VALUE, "hipErrorInvalidValue", "invalid argument"},
    {OUT_OF_MEMORY, "hipErrorOutOfMemory", "out of memory"}, {INVALID_DEVICE, "hipErrorInvalidDevice", "invalid device ordinal"},
    {INVALID_IMAGE, "hipErrorInvalidImage", "device kernel image is invalid"},
    {INVALID_CONTEXT, "hipErrorInvalidContext", "invalid device context"},
    {NO_BINARY, "hipErrorNoBinaryForGpu", "no kernel image is available for execution on the device"},
    {INVALID_HANDLE, "hipErrorInvalidHandle", "invalid resource handle"}, {NOT_FOUND, "hipErrorNotFound", "named symbol not found"},
    {NOT_READY, "hipErrorNotReady", "device not ready"}, {ILLEGAL_ADDRESS, "hipErrorIllegalAddress", "an illegal memory access was encountered"},
    {LAUNCH_FAILURE, "hipErrorLaunchFailure", "unspecified launch failure"}, {NOT_SUPPORTED, "hipErrorNotSupported", "operation not supported"}};
static int row(Result r) { int i = sizeof errors / sizeof *errors; while (i-- && errors[i].code != r) {} return i; }
API const char* hipGetErrorName(Result r) { return row(r) < 0 ? "hipErrorUnknown" : errors[row(r)].name; }
API const char* hipGetErrorString(Result r) { return row(r) < 0 ? "unknown error" : errors[row(r)].text; }
