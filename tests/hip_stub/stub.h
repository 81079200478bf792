// What the two halves of the stub share: stub.c (the HIP interface) and tags.c (what a launch writes).
#pragma once
#include <stdint.h>

// Writes the tag that kernel `name` of the tiny build (tests/tiny_build.py) leaves on device `device` (index). `args` as of
// hipModuleLaunchKernel, `count` of them. 0 when the stub knows no such kernel.
int write_tag(const char* name, void** args, unsigned count, int device);
