// SPDX-License-Identifier: GPL-3.0-or-later
#include "kube/object_ref.h"

#include <cctype>

namespace core_ha::kube {
namespace {

bool ends_with_vowel_and_y(std::string_view word) {
  if (word.size() < 2 || word.back() != 'y') return false;
  return std::string_view("aeiou").find(word[word.size() - 2]) != std::string_view::npos;
}

}  // namespace

std::string to_string(const ObjectRef& ref) {
  std::string text = ref.api_version + " " + ref.kind;
  if (ref.name.empty() && ref.ns.empty()) return text;
  text += ' ';
  if (!ref.ns.empty()) text += ref.ns + "/";
  return text + ref.name;
}

std::string resource_of(std::string_view kind) {
  std::string word;
  for (const char c : kind)
    word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (word.empty() || word == "endpoints") return word;
  if (word.back() == 's' || word.back() == 'x' || word.ends_with("ch")) return word + "es";
  if (word.back() == 'y' && !ends_with_vowel_and_y(word)) return word.substr(0, word.size() - 1) + "ies";
  return word + "s";
}

std::string rest_path(const ObjectRef& ref, std::string_view subresource) {
  // The core group alone has no slash in its apiVersion and lives under /api.
  const bool core = ref.api_version.find('/') == std::string::npos;
  std::string path = (core ? "/api/" : "/apis/") + ref.api_version;
  if (!ref.ns.empty()) path += "/namespaces/" + ref.ns;
  path += "/" + resource_of(ref.kind);
  if (!ref.name.empty()) path += "/" + ref.name;
  if (!subresource.empty()) path.append("/").append(subresource);
  return path;
}

ObjectRef ref_of(const Json& object) {
  ObjectRef ref;
  if (!object.is_object()) return ref;
  ref.api_version = text_of(object, "apiVersion");
  ref.kind = text_of(object, "kind");
  if (const auto metadata = object.find("metadata"); metadata != object.end() && metadata->is_object()) {
    ref.ns = text_of(*metadata, "namespace");
    ref.name = text_of(*metadata, "name");
  }
  return ref;
}

std::string uid_of(const Json& object) {
  const Json::json_pointer uid("/metadata/uid");
  return object.is_object() ? object.value(uid, std::string()) : std::string();
}

}  // namespace core_ha::kube
