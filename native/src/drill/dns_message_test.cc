// SPDX-License-Identifier: GPL-3.0-or-later
#include "drill/dns_message.h"

#include <doctest/doctest.h>

#include <string>

#include "drill/fake_dns_testing.h"

namespace core_ha::drill {
namespace {

const std::string service_name = "kubernetes.default.svc.cluster.local";

Bytes response_to(const Bytes& query, Rcode rcode = Rcode::no_error) {
  return fake_response(query, rcode);
}

TEST_SUITE("drill: DNS messages") {
  TEST_CASE("a query has the wire form of RFC 1035") {
    const Result<Bytes> query = encode_query(0x1234, "a.bc.", 28);
    REQUIRE(query);
    CHECK(*query == Bytes{0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 2, 'b', 'c', 0, 0, 28, 0, 1});
  }

  TEST_CASE("names that are none are refused as bad usage") {
    for (const std::string& name :
         {std::string("a..b"), std::string(".a"), std::string("a.."), std::string(64, 'a'), [] {
            std::string long_name;
            for (int i = 0; i < 5; ++i)
              long_name += std::string(60, 'a') + '.';
            return long_name;
          }()}) {
      CAPTURE(name);
      const Result<Bytes> query = encode_query(1, name, 1);
      REQUIRE_FALSE(query);
      CHECK(query.error().status == ExitStatus::usage);
    }
    CHECK(encode_query(1, std::string(63, 'a') + ".b", 1));
    CHECK(encode_query(1, ".", 1));
  }

  TEST_CASE("record types are known by name, in any case") {
    CHECK(dns_type("A") == 1);
    CHECK(dns_type("aaaa") == 28);
    CHECK(dns_type("SRV") == 33);
    CHECK_FALSE(dns_type("BOGUS"));
    CHECK_FALSE(dns_type(""));
  }

  TEST_CASE("a response is read with its question, code and matching records") {
    const Result<Bytes> query = encode_query(7, "Kubernetes.Default.svc.cluster.local", 1);
    REQUIRE(query);
    const std::optional<DnsResponse> response = decode_response(response_to(*query));
    REQUIRE(response);
    CHECK(response->id == 7);
    CHECK(response->name == service_name);
    CHECK(response->type == 1);
    CHECK(response->matching == 1);
    CHECK(response->rcode == Rcode::no_error);
    CHECK_FALSE(response->truncated);
    CHECK(decode_response(response_to(*query, Rcode::serv_fail))->rcode == Rcode::serv_fail);
    CHECK(decode_response(response_to(*query, Rcode::nx_domain))->matching == 0);
  }

  TEST_CASE("a query is no response") {
    const Result<Bytes> query = encode_query(7, service_name, 1);
    CHECK_FALSE(decode_response(*query));
  }

  TEST_CASE("no beginning of a response is taken for a whole one") {
    const Bytes whole = response_to(*encode_query(7, service_name, 1));
    for (std::size_t length = 0; length < whole.size(); ++length) {
      CAPTURE(length);
      CHECK_FALSE(decode_response(std::span(whole).first(length)));
    }
    CHECK(decode_response(whole));
  }

  TEST_CASE("a truncated response may end inside its records, not before them") {
    Bytes whole = response_to(*encode_query(7, service_name, 1));
    whole[2] |= 0x02;
    const std::optional<DnsResponse> response = decode_response(std::span(whole).first(whole.size() - 3));
    REQUIRE(response);
    CHECK(response->truncated);
    CHECK(response->matching == 0);
    CHECK_FALSE(decode_response(std::span(whole).first(20)));
  }

  TEST_CASE("labels that are too long, and pointers in a question, are not followed") {
    Bytes message = response_to(*encode_query(7, service_name, 1));
    message[12] = 0xc0;
    CHECK_FALSE(decode_response(message));
    message[12] = 64;
    CHECK_FALSE(decode_response(message));
  }
}

}  // namespace
}  // namespace core_ha::drill
