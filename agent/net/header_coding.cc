#include "agent/net/header_coding.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>

namespace squall {
namespace {

absl::string_view Text(const uint8_t* data, size_t size) { return {reinterpret_cast<const char*>(data), size}; }

std::string Deflate(nghttp2_hd_deflater* deflater, const std::vector<HeaderField>& fields, bool no_index) {
  std::vector<nghttp2_nv> list;
  list.reserve(fields.size());
  for (const HeaderField& field : fields) {
    nghttp2_nv nv;
    nv.name = reinterpret_cast<uint8_t*>(const_cast<char*>(field.name.data()));
    nv.value = reinterpret_cast<uint8_t*>(const_cast<char*>(field.value.data()));
    nv.namelen = field.name.size();
    nv.valuelen = field.value.size();
    nv.flags = no_index || field.never_indexed ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
    list.push_back(nv);
  }
  std::string block(nghttp2_hd_deflate_bound(deflater, list.data(), list.size()), '\0');
  const ssize_t size = nghttp2_hd_deflate_hd(deflater, reinterpret_cast<uint8_t*>(block.data()), block.size(),
                                             list.data(), list.size());
  block.resize(size < 0 ? 0 : static_cast<size_t>(size));  // it fails for want of memory alone
  return block;
}

}  // namespace

bool TableSizes::Announced(const std::vector<uint32_t>& values) {
  if (pending_.size() >= kMaxPending) return false;
  Pending pending;
  if (!values.empty()) {
    pending.given = true;
    pending.least = *std::min_element(values.begin(), values.end());
    pending.last = values.back();
  }
  pending_.push_back(pending);
  return true;
}

std::optional<uint32_t> TableSizes::Acknowledged() {
  if (pending_.empty()) return std::nullopt;  // acknowledges nothing: not ours to judge
  const Pending pending = pending_.front();
  pending_.pop_front();
  if (!pending.given) return std::nullopt;
  current_ = pending.last;
  return pending.least;
}

uint32_t TableSizes::Most() const {
  uint32_t most = current_;
  for (const Pending& pending : pending_) {
    if (pending.given) most = std::max(most, pending.last);
  }
  return most;
}

uint32_t TableSizes::Least() const {
  uint32_t least = current_;
  for (const Pending& pending : pending_) {
    if (pending.given) least = std::min(least, pending.least);
  }
  return least;
}

HeaderDecoder::HeaderDecoder() { nghttp2_hd_inflate_new(&inflater_); }
HeaderDecoder::~HeaderDecoder() { nghttp2_hd_inflate_del(inflater_); }

bool HeaderDecoder::Decode(absl::string_view block, OnField on_field) {
  const auto* in = reinterpret_cast<const uint8_t*>(block.data());
  size_t left = block.size();
  size_t fields = 0;
  while (true) {
    nghttp2_nv nv;
    int flags = 0;
    const ssize_t used = nghttp2_hd_inflate_hd2(inflater_, &nv, &flags, in, left, /*in_final=*/1);
    if (used < 0) return false;
    in += used;
    left -= static_cast<size_t>(used);
    if (flags & NGHTTP2_HD_INFLATE_EMIT) {
      fields += nv.namelen + nv.valuelen + 32;
      if (fields > kMaxFields) return false;
      on_field(Text(nv.name, nv.namelen), Text(nv.value, nv.valuelen), (nv.flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0);
    }
    if (flags & NGHTTP2_HD_INFLATE_FINAL) break;
    if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && left == 0) return false;
  }
  nghttp2_hd_inflate_end_headers(inflater_);
  return true;
}

void HeaderDecoder::SetLimit(uint32_t size) {
  size = std::min(size, kMaxTable);
  if (size == limit_) return;
  limit_ = size;
  nghttp2_hd_inflate_change_table_size(inflater_, size);
}

uint32_t HeaderDecoder::TableSize() const {
  return static_cast<uint32_t>(nghttp2_hd_inflate_get_max_dynamic_table_size(inflater_));
}

HeaderEncoder::HeaderEncoder(uint32_t table_size) : table_size_(std::min(table_size, TableSizes::kDefault)) {
  nghttp2_hd_deflate_new(&deflater_, TableSizes::kDefault);
  // Both changes are written at the start of the first block: the least, which empties the table, and the last.
  nghttp2_hd_deflate_change_table_size(deflater_, 0);
  nghttp2_hd_deflate_change_table_size(deflater_, table_size_);
}

HeaderEncoder::~HeaderEncoder() { nghttp2_hd_deflate_del(deflater_); }

std::string HeaderEncoder::Encode(const std::vector<HeaderField>& fields) {
  return Deflate(deflater_, fields, /*no_index=*/false);
}

void HeaderEncoder::Lower(uint32_t table_size) {
  if (table_size >= table_size_) return;
  table_size_ = table_size;
  nghttp2_hd_deflate_change_table_size(deflater_, table_size);
}

std::string EncodeWithoutTable(const std::vector<HeaderField>& fields, std::optional<uint32_t> resize) {
  nghttp2_hd_deflater* deflater = nullptr;
  nghttp2_hd_deflate_new(&deflater, HeaderDecoder::kMaxTable);
  if (resize) nghttp2_hd_deflate_change_table_size(deflater, *resize);
  std::string block = Deflate(deflater, fields, /*no_index=*/true);
  nghttp2_hd_deflate_del(deflater);
  return block;
}

}  // namespace squall
