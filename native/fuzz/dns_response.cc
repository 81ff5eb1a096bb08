// SPDX-License-Identifier: GPL-3.0-or-later
//
// Any bytes may arrive on a UDP socket. They must be read without a fault, and what is taken for a response must be
// one that our own encoder could have asked for.
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>

#include "drill/dns_message.h"

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer calls it by this name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace core_ha::drill;
  const std::span<const std::uint8_t> message(data, size);
  const std::optional<DnsResponse> response = decode_response(message);
  if (!response) return 0;
  if (message_id(message) != response->id) std::abort();
  if (response->name.size() > 254) std::abort();
  // Labels may hold dots of their own, so not every name can be asked for again; if it can, it is read back the same.
  if (response->name.ends_with('.')) return 0;
  const auto query = encode_query(response->id, response->name, response->type);
  if (!query) return 0;
  Bytes echo = *query;
  echo[2] |= 0x80;
  const std::optional<DnsResponse> again = decode_response(echo);
  if (!again || again->name != response->name || again->type != response->type) std::abort();
  return 0;
}
