// And nearly every test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
