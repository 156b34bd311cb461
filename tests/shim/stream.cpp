/* Streams: work is queued and done as late as CUDA allows (LCT_SHIM_STREAMS=late, the default) or at once (early). Late, what host code
 * reads or overwrites without having waited is still old or already new, as it may be on a GPU. */
#include <deque>
#include <memory>
#include <set>

#include "runtime.h"

struct CUstream_st {
  bool blocking; /* waits for the default stream and is waited for by it */
  uint64_t pushed, done;
  std::deque<std::function<void()>> queue;
};

struct CUevent_st {
  cudaStream_t stream;
  uint64_t at; /* of the stream's queue: done when so many have been done */
  bool recorded;
  double seconds;
};

static CUstream_st default_stream = {true, 0, 0, {}};
static std::set<cudaStream_t> streams;

static cudaStream_t resolve(cudaStream_t s) {
  if (s == nullptr) return &default_stream;
  return streams.count(s) != 0 ? s : nullptr;
}

static void drain_to(cudaStream_t s, uint64_t at) {
  while (s->done < at) {
    std::function<void()> work = std::move(s->queue.front());
    s->queue.pop_front();
    s->done++;
    if (shim.sticky == cudaSuccess) work();
  }
}

static void drain(cudaStream_t s) { drain_to(s, s->pushed); }

void shim_drain_all(void) {
  drain(&default_stream);
  for (cudaStream_t s : streams) drain(s);
}

void shim_drain_default(void) {
  for (cudaStream_t s : streams) {
    if (s->blocking) drain(s);
  }
  drain(&default_stream);
}

cudaError_t shim_drain(cudaStream_t stream) {
  cudaStream_t s = resolve(stream);
  if (s == nullptr) return cudaErrorInvalidResourceHandle;
  if (s == &default_stream) shim_drain_default();
  else if (s->blocking) drain(&default_stream);
  drain(s);
  return cudaSuccess;
}

cudaError_t shim_push(cudaStream_t stream, std::function<void()> work) {
  cudaStream_t s = resolve(stream);
  if (s == nullptr) return cudaErrorInvalidResourceHandle;
  if (s == &default_stream) {
    for (cudaStream_t other : streams) {
      if (other->blocking) drain(other);
    }
  } else if (s->blocking) {
    drain(&default_stream);
  }
  s->queue.push_back(std::move(work));
  s->pushed++;
  if (!shim.late_streams) drain(s);
  return cudaSuccess;
}

extern "C" {

/* for the fake cuBLASLt, which lives in a library of its own */
__attribute__((visibility("default"))) int shim_stream_push(cudaStream_t stream, void (*run)(void *), void (*release)(void *), void *arg) {
  SHIM_ENTER_ANYWAY;
  bool fails = shim_count_launch();
  std::shared_ptr<void> owned(arg, release); /* released even when the stream dies with an error before its turn */
  return (int)shim_push(stream, [=] {
    run(owned.get());
    if (fails) shim.sticky = shim_fail(cudaErrorIllegalAddress);
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
  SHIM_ENTER;
  if (stream == nullptr || flags > cudaStreamNonBlocking) return shim_fail(cudaErrorInvalidValue);
  *stream = new CUstream_st{flags == cudaStreamDefault, 0, 0, {}};
  streams.insert(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  SHIM_ENTER_ANYWAY;
  if (stream == nullptr || resolve(stream) == nullptr) return shim_fail(cudaErrorInvalidResourceHandle);
  drain(stream);
  streams.erase(stream);
  delete stream;
  return shim.sticky;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  SHIM_ENTER;
  cudaError_t code = shim_drain(stream);
  if (code != cudaSuccess) return shim_fail(code);
  return shim_fail(shim.sticky);
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  SHIM_ENTER;
  cudaStream_t s = resolve(stream);
  if (s == nullptr) return shim_fail(cudaErrorInvalidResourceHandle);
  return s->done < s->pushed ? cudaErrorNotReady : cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void) {
  SHIM_ENTER;
  shim_drain_all();
  return shim_fail(shim.sticky);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  SHIM_ENTER;
  if (event == nullptr) return shim_fail(cudaErrorInvalidResourceHandle);
  if (!event->recorded) return cudaSuccess;
  cudaStream_t other = event->stream;
  uint64_t at = event->at;
  return shim_fail(shim_push(stream, [=] {
    if (resolve(other) != nullptr) drain_to(other, at); /* a destroyed stream has done its work */
  }));
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
  SHIM_ENTER;
  if (event == nullptr) return shim_fail(cudaErrorInvalidValue);
  *event = new CUevent_st{nullptr, 0, false, 0};
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  SHIM_ENTER_ANYWAY;
  if (event == nullptr) return shim_fail(cudaErrorInvalidResourceHandle);
  if (event->recorded && resolve(event->stream) != nullptr) drain_to(event->stream, event->at); /* the queue may name the event */
  delete event;
  return shim.sticky;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  SHIM_ENTER;
  cudaStream_t s = resolve(stream);
  if (event == nullptr || s == nullptr) return shim_fail(cudaErrorInvalidResourceHandle);
  if (event->recorded && resolve(event->stream) != nullptr) drain_to(event->stream, event->at);
  event->stream = s;
  event->recorded = true;
  event->at = s->pushed + 1;
  return shim_fail(shim_push(stream, [=] { event->seconds = shim_seconds(); }));
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  SHIM_ENTER;
  if (event == nullptr) return shim_fail(cudaErrorInvalidResourceHandle);
  if (event->recorded && (event->stream == &default_stream || resolve(event->stream) != nullptr)) drain_to(event->stream, event->at);
  return shim_fail(shim.sticky);
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  SHIM_ENTER;
  if (event == nullptr) return shim_fail(cudaErrorInvalidResourceHandle);
  return event->recorded && event->stream->done < event->at ? cudaErrorNotReady : cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end) {
  SHIM_ENTER;
  if (ms == nullptr || start == nullptr || end == nullptr || !start->recorded || !end->recorded)
    return shim_fail(cudaErrorInvalidResourceHandle);
  if (start->stream->done < start->at || end->stream->done < end->at) return shim_fail(cudaErrorNotReady);
  *ms = (float)((end->seconds - start->seconds) * 1e3);
  return cudaSuccess;
}
}
