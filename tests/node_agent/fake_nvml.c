/* A stand-in for NVIDIA's management library: the functions that pynvml calls, answered as the real one does.
 *
 * What it shows is in the file that FAKE_NVML names, read at each call:
 *   init CODE         nvmlInit ends with this error
 *   count N           so many GPUs
 *   error GPU CODE    every value of this GPU ends with this error
 *   gone GPU CODE     there is no handle of this GPU, with this error
 *   hang GPU          a value of this GPU does not come back as long as the line is there
 *   old GPU           the driver cannot tell reserved memory
 *   mute GPU          no utilisation is published
 *   busy GPU PERCENT  its utilisation
 *   full GPU          more memory is used than there is
 *   remap GPU         broken memory could not be replaced
 *   mig GPU SLICES    it is divided into so many slices, of which the second is missing
 *   process GPU PID BYTES   a process with so much memory; -1: unknown
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OK = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, FUNCTION_NOT_FOUND = 13 };
#define GIB (1024ULL * 1024 * 1024)

/* The n-th number behind the first line that begins with `key` and, where it is not negative, `gpu`; or `missing`. */
static long long said(const char *key, long long gpu, int n, long long missing) {
    char line[256], word[32];
    long long numbers[4], found = missing;
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    while (file && fgets(line, sizeof line, file)) {
        int count = sscanf(line, "%31s %lld %lld %lld %lld", word, &numbers[0], &numbers[1], &numbers[2], &numbers[3]);
        if (count >= 1 && !strcmp(word, key) && (gpu < 0 || (count >= 2 && numbers[0] == gpu)) && count >= n + 2) {
            found = numbers[n];
            break;
        }
    }
    if (file) fclose(file);
    return found;
}

static int flag(const char *key, long long gpu) { return said(key, gpu, 0, -1) == gpu; }

/* Handles: GPUs from 1000 on; slices from 100000 on, a hundred for each GPU. */
static int is_slice(void *handle) { return (long)handle >= 100000; }
static int gpu_of(void *handle) {
    long number = (long)handle;
    return is_slice(handle) ? (int)((number - 100000) / 100) : (int)(number - 1000);
}
static int slice_of(void *handle) { return (int)(((long)handle - 100000) % 100); }

static int problem(void *handle) {
    int gpu = gpu_of(handle);
    while (flag("hang", gpu)) {
        struct timespec nap = {0, 10000000};
        nanosleep(&nap, NULL);
    }
    return (int)said("error", gpu, 1, OK);
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; return (int)said("init", -1, 0, OK); }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { (void)code; return "something\nof the driver's own"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = (unsigned)said("count", -1, 0, 0); return OK; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    if (index >= (unsigned)said("count", -1, 0, 0)) return INVALID_ARGUMENT;
    *handle = (void *)(1000L + index);
    return (int)said("gone", index, 1, OK);
}

int nvmlDeviceGetUUID(void *handle, char *text, unsigned size) {
    if (is_slice(handle)) snprintf(text, size, "MIG-%d-%d", gpu_of(handle), slice_of(handle));
    else snprintf(text, size, "GPU-%d", gpu_of(handle));
    return OK;
}

int nvmlDeviceGetName(void *handle, char *text, unsigned size) {
    snprintf(text, size, is_slice(handle) ? "NVIDIA H200 MIG 1g.18gb" : "NVIDIA H200");
    return OK;
}

int nvmlDeviceGetMinorNumber(void *handle, unsigned *minor) { *minor = 7 - (unsigned)gpu_of(handle); return OK; }

typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } MemoryV2;

static unsigned long long total_of(void *handle) { return (is_slice(handle) ? 18 : 141) * GIB; }
static unsigned long long used_of(void *handle) {
    if (is_slice(handle)) return (unsigned long long)(slice_of(handle) + 1) * GIB;
    return flag("full", gpu_of(handle)) ? 1000 * GIB : (unsigned long long)(gpu_of(handle) + 1) * 10 * GIB;
}

int nvmlDeviceGetMemoryInfo(void *handle, Memory *memory) {
    memory->total = total_of(handle);
    memory->used = used_of(handle) + GIB; /* reserved memory counts as used */
    return problem(handle);
}

int nvmlDeviceGetMemoryInfo_v2(void *handle, MemoryV2 *memory) {
    if (flag("old", gpu_of(handle))) return FUNCTION_NOT_FOUND;
    memory->total = total_of(handle);
    memory->reserved = GIB;
    memory->used = used_of(handle);
    return problem(handle);
}

int nvmlDeviceGetUtilizationRates(void *handle, unsigned *rates) {
    if (is_slice(handle) || flag("mute", gpu_of(handle))) return NOT_SUPPORTED;
    rates[0] = (unsigned)said("busy", gpu_of(handle), 1, 10 * gpu_of(handle));
    rates[1] = 1;
    return problem(handle);
}

int nvmlDeviceGetRemappedRows(void *handle, unsigned *corrected, unsigned *uncorrected, unsigned *pending, unsigned *failed) {
    *corrected = *uncorrected = *pending = 0;
    *failed = (unsigned)flag("remap", gpu_of(handle));
    return OK;
}

int nvmlDeviceGetMigMode(void *handle, unsigned *now, unsigned *pending) {
    *now = *pending = said("mig", gpu_of(handle), 1, 0) > 0;
    return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *count) { (void)handle; *count = 7; return OK; }

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **slice) {
    int gpu = gpu_of(handle);
    if (index == 1 || index >= (unsigned)said("mig", gpu, 1, 0)) return NOT_FOUND;
    *slice = (void *)(100000L + 100L * gpu + index);
    return OK;
}

int nvmlDeviceGetGpuInstanceId(void *handle, unsigned *id) { *id = 7 + (unsigned)slice_of(handle); return OK; }
int nvmlDeviceGetComputeInstanceId(void *handle, unsigned *id) { (void)handle; *id = 0; return OK; }

typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } Process;

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, Process *processes) {
    char line[256];
    long long gpu, pid, used;
    unsigned found = 0;
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "process %lld %lld %lld", &gpu, &pid, &used) != 3 || gpu != gpu_of(handle)) continue;
        if (processes && found < *count) {
            processes[found].pid = (unsigned)pid;
            processes[found].used = (unsigned long long)used;
        }
        found++;
    }
    if (file) fclose(file);
    if (found && (!processes || found > *count)) {
        *count = found;
        return INSUFFICIENT_SIZE;
    }
    *count = found;
    return OK;
}
