// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string_view>

namespace core_ha::ha {

/// Whether Kubernetes takes this for the key of a label: `disk`, `example.org/disk`.
bool is_label_key(std::string_view text);

/// Whether it takes this for a label's value; the empty one is one.
bool is_label_value(std::string_view text);

/// Whether it takes this for a DNS subdomain, as most objects' names are: `site`, `site.example.org`.
bool is_dns_subdomain(std::string_view text);

/// Whether it takes this for a DNS label, as namespaces' names are: one part of the above.
bool is_dns_label(std::string_view text);

}  // namespace core_ha::ha
