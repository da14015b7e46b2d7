// What refusals.bpf.c and refusals.cc share: the errors that are counted, in the order of `counts`. Their numbers are those of x86
// and arm.
#pragma once

#define REFUSALS_EMFILE 24
#define REFUSALS_ENFILE 23
#define REFUSALS_ENOSPC 28
#define REFUSALS_EDQUOT 122
#define REFUSALS_ERRORS 4
