// SPDX-License-Identifier: GPL-3.0-or-later
#include "kube/watch.h"

#include "base/backoff.h"
#include "kube/status.h"

namespace core_ha::kube {
namespace {

std::string text_at(const Json& object, const char* pointer) {
  const Json::json_pointer at(pointer);
  return object.is_object() && object.contains(at) && object[at].is_string() ? object[at].get<std::string>() : "";
}

std::string key_of(const Json& object) {
  const std::string ns = text_at(object, "/metadata/namespace");
  return (ns.empty() ? "" : ns + "/") + text_at(object, "/metadata/name");
}

}  // namespace

WatchedList::WatchedList(const Json& list) : version_(text_at(list, "/metadata/resourceVersion")) {
  for (const Json& item : list.value("items", Json::array()))
    objects_[key_of(item)] = item;
}

bool WatchedList::take(std::string_view bytes, const std::function<bool(ApiResult<bool>)>& tell) {
  buffer_ += bytes;
  for (size_t end = buffer_.find('\n'); end != std::string::npos; end = buffer_.find('\n')) {
    const std::string line = buffer_.substr(0, end);
    buffer_.erase(0, end + 1);
    if (!line.empty() && !tell(take_event(line))) return false;
  }
  return true;
}

ApiResult<bool> WatchedList::take_event(const std::string& line) {
  const Json event = Json::parse(line, nullptr, false);
  const std::string type = text_at(event, "/type");
  const auto object = event.is_object() ? event.find("object") : event.end();
  if (type.empty() || object == event.end() || !object->is_object())
    return ApiError{{ExitStatus::api, "the API's watch sent something that is no event"}};
  if (type == "ERROR") return refusal(*object, object->value("code", 500), "GET", "to watch on");
  if (const std::string version = text_at(*object, "/metadata/resourceVersion"); !version.empty()) version_ = version;
  if (type == "ADDED" || type == "MODIFIED")
    objects_[key_of(*object)] = *object;
  else if (type == "DELETED")
    objects_.erase(key_of(*object));
  else
    return false;  // a bookmark says the version alone; what else may come one day is nothing to us
  return true;
}

std::chrono::seconds watch_time() {
  return std::chrono::floor<std::chrono::seconds>(random_time(std::chrono::minutes(5), std::chrono::minutes(10)));
}

}  // namespace core_ha::kube
