// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "base/json.h"

namespace core_ha::ha::testing {

/// What k3s ships, with the fields that plans look at.
Json packaged_manifest();  ///< CoreDNS's Deployment
Json service_manifest();   ///< kube-dns
Json metrics_server_manifest();
Json local_path_manifest();
Json local_path_config_manifest();
Json traefik_chart_manifest();

/// The schema of a HelmChartConfig's spec, and what traefik's chart makes without any values: Helm's, not k3s's.
Json config_definition();
Json traefik_object();

}  // namespace core_ha::ha::testing
