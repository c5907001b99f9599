// The part of the CUDA driver and of NVRTC that the engine calls, on the host: `driver/gpu.rs` calls it like
// libcuda.so, and a launch runs the kernel through `shim.hpp`. Addresses are host addresses.

typedef int Result;  // CUresult and nvrtcResult: 0 is success
static const Result BAD = 1, NOT_FOUND = 500;

static bool initialized, current;
static unsigned long long taken;

#define DRIVER extern "C" Result

// The version in `HOST_CUDA_VERSION`, if set.
DRIVER cuDriverGetVersion(int* version) {
    const char* set = getenv("HOST_CUDA_VERSION");
    *version = set ? atoi(set) : 13000;
    return 0;
}
DRIVER cuInit(unsigned) { initialized = true; return 0; }
DRIVER cuDeviceGetCount(int* count) { *count = 1; return 0; }
DRIVER cuDeviceGet(int* device, int) { *device = 0; return initialized ? 0 : BAD; }
DRIVER cuDeviceGetName(char* name, int len, int) { snprintf(name, len, "a host emulating a GPU"); return 0; }

// Compute capability 9.0; no memory pools.
DRIVER cuDeviceGetAttribute(int* value, int attribute, int) {
    *value = attribute == 75 ? 9 : 0;
    return 0;
}

DRIVER cuDevicePrimaryCtxRetain(void** context, int) { *context = &current; return 0; }
DRIVER cuDevicePrimaryCtxRelease_v2(int) { return 0; }
DRIVER cuCtxGetCurrent(void** context) { *context = current ? &current : nullptr; return 0; }
DRIVER cuCtxSetCurrent(void* context) { current = context; return 0; }
DRIVER cuCtxSynchronize() { return 0; }

DRIVER cuMemGetInfo_v2(size_t* free, size_t* total) {
    *total = 8ull << 30;
    *free = *total - taken;
    return 0;
}

// The size is stored before the memory. New memory is filled with NaN.
DRIVER cuMemAlloc_v2(unsigned long long* address, size_t bytes) {
    char* memory = (char*)aligned_alloc(256, (bytes + 256 + 255) / 256 * 256);
    if (!memory) return BAD;
    memset(memory, 0xFF, bytes + 256);
    *(size_t*)memory = bytes;
    taken += bytes;
    *address = (unsigned long long)(memory + 256);
    return 0;
}

DRIVER cuMemFree_v2(unsigned long long address) {
    char* memory = (char*)address - 256;
    taken -= *(size_t*)memory;
    free(memory);
    return 0;
}

// The image that NVRTC below returns; any other is invalid for this device, as if from a compiler too new for the
// driver.
static const char IMAGE[] = "\x7f" "ELF of the host";

DRIVER cuModuleLoadData(void** module, const void* image) {
    *module = &initialized;
    return memcmp(image, IMAGE, sizeof IMAGE) ? 200 : 0;
}

DRIVER cuModuleUnload(void*) { return 0; }

static bool recording_now();

// Streams execute everything immediately, except while one records: then launches are stored, with copies of their
// arguments, as a graph. Any other operation on it meanwhile is an error, as on a GPU.
DRIVER cuStreamWaitEvent(void*, void*, unsigned) { return recording_now() ? BAD : 0; }
DRIVER cuEventCreate(void** event, unsigned) { *event = &current; return 0; }
DRIVER cuEventRecord(void*, void*) { return recording_now() ? BAD : 0; }
DRIVER cuEventSynchronize(void*) { return 0; }
DRIVER cuEventElapsedTime_v2(float* ms, void*, void*) { *ms = 1; return 0; }
DRIVER cuEventElapsedTime(float* ms, void*, void*) { *ms = 1; return 0; }
DRIVER cuEventDestroy_v2(void*) { return 0; }
DRIVER cuMemHostAlloc(void** memory, size_t bytes, unsigned) { *memory = malloc(bytes); return *memory ? 0 : BAD; }
DRIVER cuMemFreeHost(void* memory) { free(memory); return 0; }

struct Kept {
    const char* kernel;
    unsigned grid[3], block[2];
    std::vector<std::vector<char>> args;
};
static std::vector<Kept>* recording;
static bool recording_now() { return recording; }

static char streams[64];
static int opened;
static void* recorder;  // the recording stream
DRIVER cuStreamCreate(void** stream, unsigned) { *stream = &streams[opened++ % 64]; return current ? 0 : BAD; }
static void* recorder_now() { return recording ? recorder : nullptr; }
DRIVER cuStreamDestroy_v2(void*) { return 0; }
DRIVER cuStreamSynchronize(void*) { return recording ? BAD : 0; }
DRIVER cuStreamBeginCapture_v2(void* stream, int) {
    if (recording) return BAD;
    recording = new std::vector<Kept>;
    recorder = stream;
    return 0;
}
DRIVER cuStreamEndCapture(void*, void** graph) {
    *graph = recording;
    recording = nullptr;
    return *graph ? 0 : BAD;
}
DRIVER cuGraphInstantiateWithFlags(void** exec, void* graph, unsigned long long flags) {
    *exec = graph;
    return flags ? BAD : 0;
}
DRIVER cuGraphExecDestroy(void*) { return 0; }
DRIVER cuGraphDestroy(void* graph) {
    delete (std::vector<Kept>*)graph;
    return 0;
}
DRIVER cuGraphLaunch(void* exec, void*) {
    if (recording) return BAD;
    for (Kept& kept : *(std::vector<Kept>*)exec) {
        std::vector<void*> args;
        for (std::vector<char>& arg : kept.args) args.push_back(arg.data());
        if (int code = host_launch(kept.kernel, kept.grid, kept.block, args.data(), 0)) return code;
    }
    return 0;
}

// A function handle is its name.
DRIVER cuModuleGetFunction(void** function, void*, const char* name) {
    for (host::Kernel* k = host::kernels; k; k = k->next)
        if (!strcmp(k->name, name)) {
            *function = (void*)k->name;
            return 0;
        }
    return NOT_FOUND;
}

DRIVER cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, void* stream, void** args, void** extra) {
    if (bz != 1 || shared || !stream || extra || !current) return BAD;
    unsigned grid[3] = {gx, gy, gz}, block[2] = {bx, by};
    if (recording && stream == recorder) {
        host::Kernel* k = host::kernels;
        while (k->name != (const char*)function) k = k->next;
        Kept kept = {k->name, {gx, gy, gz}, {bx, by}, {}};
        for (int i = 0; i < k->arity; i++) kept.args.emplace_back((char*)args[i], (char*)args[i] + k->sizes[i]);
        recording->push_back(kept);
        return 0;
    }
    return host_launch((const char*)function, grid, block, args, 0);
}

DRIVER cuMemcpyHtoDAsync_v2(unsigned long long to, const void* from, size_t bytes, void* stream) {
    if (!stream || stream == recorder_now()) return BAD;
    memcpy((void*)to, from, bytes);
    return 0;
}

DRIVER cuMemcpyDtoHAsync_v2(void* to, unsigned long long from, size_t bytes, void* stream) {
    if (!stream || stream == recorder_now()) return BAD;
    memcpy(to, (const void*)from, bytes);
    return 0;
}

DRIVER cuGetErrorName(int, const char** text) { *text = "AN_ERROR"; return 0; }
DRIVER cuGetErrorString(int, const char** text) { *text = "an error of the host emulating a GPU"; return 0; }

DRIVER nvrtcCreateProgram(void** program, const char* source, const char*, int, const char* const*, const char* const*) {
    *program = (void*)source;
    return 0;
}
DRIVER nvrtcCompileProgram(void*, int count, const char* const* options) {
    for (int i = 0; i < count; i++)
        if (!strcmp(options[i], "--gpu-architecture=sm_90")) return 0;
    return 6;
}
DRIVER nvrtcGetCUBINSize(void*, size_t* len) { *len = sizeof IMAGE; return 0; }
DRIVER nvrtcGetCUBIN(void*, char* cubin) { memcpy(cubin, IMAGE, sizeof IMAGE); return 0; }
DRIVER nvrtcGetProgramLogSize(void*, size_t* len) { *len = 6; return 0; }
DRIVER nvrtcGetProgramLog(void*, char* log) { strcpy(log, "a log"); return 0; }
DRIVER nvrtcDestroyProgram(void** program) { *program = nullptr; return 0; }
