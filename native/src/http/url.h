// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>

namespace core_ha::http {

/// A URL taken apart by curl, so that what is checked is what is used.
class Url {
 public:
  explicit Url(const std::string& text) : url_(curl_url()) {
    const CURLUcode code = curl_url_set(url_.get(), CURLUPART_URL, text.c_str(), CURLU_NON_SUPPORT_SCHEME);
    if (code != CURLUE_OK) fault_ = curl_url_strerror(code);
  }

  /// Why it is no URL; empty: it is one.
  const std::string& fault() const { return fault_; }
  /// One part, such as CURLUPART_HOST; empty where there is none. A port is the scheme's where none is written.
  std::string part(CURLUPart which) const {
    char* text = nullptr;
    if (curl_url_get(url_.get(), which, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return {};
    std::string copy = text;
    curl_free(text);
    return copy;
  }
  void set(CURLUPart which, const std::string& text) { curl_url_set(url_.get(), which, text.c_str(), 0); }

 private:
  struct Deleter {
    void operator()(CURLU* url) const { curl_url_cleanup(url); }
  };
  std::unique_ptr<CURLU, Deleter> url_;
  std::string fault_;
};

}  // namespace core_ha::http
