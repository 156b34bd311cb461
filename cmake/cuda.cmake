# CUDA is optional and found by itself. What was found is said in one line.
find_program(LCT_NVCC nvcc HINTS /usr/local/cuda/bin)
if(LCT_NVCC)
  message(STATUS "CUDA: nvcc found (${LCT_NVCC}); this version has no CUDA engine yet: building the complete CPU program")
else()
  message(STATUS "CUDA: no nvcc: building the complete CPU program")
endif()
