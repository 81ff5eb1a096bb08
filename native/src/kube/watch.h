// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "kube/client.h"

namespace core_ha::kube {

/// A list, kept up to date by the events of its watch, and the version from which a watch goes on.
class WatchedList {
 public:
  explicit WatchedList(const Json& list);

  const Objects& objects() const { return objects_; }
  const std::string& version() const { return version_; }

  /// Takes more of a watch's answer and tells of each event that has come whole: whether the objects changed, or the
  /// error that it says (the Status of an ERROR event). Stops, and returns false, as soon as `tell` does.
  bool take(std::string_view bytes, const std::function<bool(ApiResult<bool>)>& tell);
  /// The rest of an answer that broke off is no part of the next one.
  void begin_watch() { buffer_.clear(); }

 private:
  ApiResult<bool> take_event(const std::string& line);

  Objects objects_;
  std::string version_;
  std::string buffer_;  ///< the beginning of an event
};

/// How long to ask a server to keep a watch open: 5 to 10 minutes, at random, so that watches do not all end at once.
std::chrono::seconds watch_time();

}  // namespace core_ha::kube
