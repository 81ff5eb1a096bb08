// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/encoding.h"

#include <doctest/doctest.h>

using core_ha::decode_base64;

TEST_CASE("base64: whole groups, padding only at the end") {
  CHECK(decode_base64("") == "");
  CHECK(decode_base64("aGVsbG8=") == "hello");
  CHECK(decode_base64("aGVs\nbG8h") == "hello!");
  CHECK(decode_base64("aA==") == "h");
  CHECK_FALSE(decode_base64("aGVsbG8"));
  CHECK_FALSE(decode_base64("a==="));
  CHECK_FALSE(decode_base64("aA==aA=a"));
  CHECK_FALSE(decode_base64("a*Vs"));
}

TEST_CASE("query values are percent-encoded") {
  CHECK(core_ha::encode_query("k8s-app=kube-dns,x in (a)") == "k8s-app%3Dkube-dns%2Cx%20in%20%28a%29");
}

TEST_CASE("all strings of a document are wiped") {
  core_ha::Json document{{"user", {{"token", "t"}, {"list", {"a", 1}}}}};
  core_ha::wipe_strings(document);
  CHECK(document.dump() == R"({"user":{"list":["",1],"token":""}})");
}
