// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace core_ha::cluster {

/// One element of a field path: a key (`f:spec`), a list entry by its keys (`k:{"name":"coredns"}`), by its value
/// (`v:"x"`) or by its place (`i:0`), written as in managedFields; JSON inside is normalised.
using FieldPath = std::vector<std::string>;

/// `.spec.template.spec.containers[name="coredns"].lifecycle`, as the API names a field in a conflict.
std::string to_string(const FieldPath& path);

/// The value at the path in `object`, or null when there is none.
const Json* value_at(const Json& object, const FieldPath& path);

/// Whether the object has this value there. A field that is not there has the value that the API leaves out, 0 or false
/// or "": manifests that state it are stored without (omitempty).
bool has_value(const Json& object, const FieldPath& path, const Json& value);

/// Takes the field out of `object`, and what it leaves empty; a list's entry goes with a field that it is known by.
void erase_at(Json& object, const FieldPath& path);

/// Whether the field is one of those by which its list entry is known: the entry goes with it.
bool is_entry_key(const FieldPath& path);

/// The fields in a managedFields entry (fieldsV1), without the markers `.` of list entries.
std::set<FieldPath> fields_of(const Json& fields_v1);

/// What `manager` holds in the object by server-side apply; empty when it never applied, or an empty set.
std::set<FieldPath> applied_fields(const Json& object, std::string_view manager);

/// The managers that hold exactly this field, by whatever operation.
std::vector<std::string> owners_of(const Json& object, const FieldPath& path);

/// `object` without the fields that `manager` alone holds by server-side apply: what an empty set of its would leave.
Json without_applied(Json object, std::string_view manager);

/// The object's managedFields without what `manager` holds by server-side apply beside `keep`. Written back, they leave
/// every value as it is, with one holder less: the way of kubectl's own hand-over between managers (client-go,
/// util/csaupgrade).
Json managed_fields_without(const Json& object, std::string_view manager, const std::set<FieldPath>& keep);

/// The fields that applying `body` would hold: its leaves, with the lists that merge by key taken entry by entry.
std::set<FieldPath> fields_in(const Json& body);

/// The body whose apply would hold these fields with the values that `object` has now, lists in its order: what goes
/// back to an earlier set of ours. Carries apiVersion, kind, name and namespace; with no fields, nothing else.
Json body_from_fields(const Json& object, const std::set<FieldPath>& fields);

/// `object` as it would be once `body` is applied over it; lists that merge by key are merged.
Json overlay(Json object, const Json& body);

}  // namespace core_ha::cluster
