#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

struct nghttp2_hd_inflater;
struct nghttp2_hd_deflater;

// Header blocks of HTTP/2 (HPACK, RFC 7541), by nghttp2. Not thread-safe.
namespace squall {

struct HeaderField {
  std::string name;
  std::string value;
  bool never_indexed = false;  // its sender wants it kept out of every table
};

// What a decoder of header blocks has told its peer about the size of its table (SETTINGS_HEADER_TABLE_SIZE). A value holds once the
// peer has acknowledged it.
class TableSizes {
 public:
  static constexpr uint32_t kDefault = 4096;
  static constexpr size_t kMaxPending = 64;

  // A SETTINGS frame with these values of the setting, in order; mostly none or one. False: too many wait for acknowledgement.
  bool Announced(const std::vector<uint32_t>& values);
  // The oldest SETTINGS frame was acknowledged. The least value in it, where it had one.
  std::optional<uint32_t> Acknowledged();

  uint32_t Most() const;   // that may be in use now
  uint32_t Least() const;  // that is surely allowed, now and once everything is acknowledged

 private:
  struct Pending {
    bool given = false;
    uint32_t least = 0;
    uint32_t last = 0;
  };
  uint32_t current_ = kDefault;
  std::deque<Pending> pending_;
};

class HeaderDecoder {
 public:
  static constexpr uint32_t kMaxTable = 64 << 10;
  static constexpr size_t kMaxFields = 64 << 10;  // bytes of names and values of one block, with 32 for each field

  HeaderDecoder();
  ~HeaderDecoder();
  HeaderDecoder(const HeaderDecoder&) = delete;
  HeaderDecoder& operator=(const HeaderDecoder&) = delete;

  using OnField = absl::FunctionRef<void(absl::string_view name, absl::string_view value, bool never_indexed)>;
  // Decodes a whole block. False: it is none, or its fields are more than kMaxFields; the decoder is of no more use then.
  bool Decode(absl::string_view block, OnField on_field);
  // The table may be as large as this, or kMaxTable: an encoder that uses more is not understood.
  void SetLimit(uint32_t size);
  // As the encoder has last set it.
  uint32_t TableSize() const;

 private:
  nghttp2_hd_inflater* inflater_ = nullptr;
  uint32_t limit_ = TableSizes::kDefault;
};

// Encodes for a decoder whose table may hold anything: its first block empties that table.
class HeaderEncoder {
 public:
  explicit HeaderEncoder(uint32_t table_size);
  ~HeaderEncoder();
  HeaderEncoder(const HeaderEncoder&) = delete;
  HeaderEncoder& operator=(const HeaderEncoder&) = delete;

  std::string Encode(const std::vector<HeaderField>& fields);
  // Lowers the size of the table; never raises it.
  void Lower(uint32_t table_size);

 private:
  nghttp2_hd_deflater* deflater_ = nullptr;
  uint32_t table_size_;
};

// A block that leaves the decoder's table as it is. With `resize`, it begins with that size for the table, as a decoder demands
// whose limit was lowered since the last block.
std::string EncodeWithoutTable(const std::vector<HeaderField>& fields, std::optional<uint32_t> resize);

}  // namespace squall
