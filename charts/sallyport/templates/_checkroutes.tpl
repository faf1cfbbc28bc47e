{{/* Fails where an Ingress or a route would not work, or would let in more than somebody meant. */}}
{{- define "sallyport.checkRoutes" -}}
{{- $ingress := .Values.ingress -}}{{- $http := .Values.httpRoute -}}{{- $tls := .Values.tlsRoute -}}
{{- include "sallyport.checkRoute" (dict "root" . "value" "ingress" "on" $ingress.enabled "hosts" $ingress.hosts "allowScim" $ingress.allowScim "backend" $ingress.backend "parents" true "scim" $ingress.scim.enabled "scimHost" $ingress.scim.host "scimKey" "host") -}}
{{- include "sallyport.checkRoute" (dict "root" . "value" "httpRoute" "on" $http.enabled "hosts" $http.hostnames "allowScim" $http.allowScim "backend" $http.backend "parents" $http.parentRefs "scim" $http.scim.enabled "scimHost" $http.scim.hostname "scimParents" $http.scim.parentRefs "scimKey" "hostname") -}}
{{- include "sallyport.checkRoute" (dict "root" . "value" "tlsRoute" "on" $tls.enabled "hosts" $tls.hostnames "allowScim" $tls.allowScim "backend" "passthrough" "parents" $tls.parentRefs "scim" $tls.scim.enabled "scimHost" $tls.scim.hostname "scimParents" $tls.scim.parentRefs "scimKey" "hostname") -}}
{{- if and $ingress.enabled (eq $ingress.backend "http") (eq .Values.services.applications.type "LoadBalancer") -}}
{{- fail "values.ingress.enabled, and values.services.applications.type is LoadBalancer: people could go around the Ingress, in plain http; set the type to ClusterIP, or NodePort if the controller needs it" -}}
{{- end -}}
{{- if and $http.enabled (eq $http.backend "http") (eq .Values.services.applications.type "LoadBalancer") -}}
{{- fail "values.httpRoute.enabled, and values.services.applications.type is LoadBalancer: people could go around the gateway, in plain http; set the type to ClusterIP" -}}
{{- end -}}
{{- end }}

{{- define "sallyport.checkRoute" -}}
{{- if or .on .scim -}}
{{- include "sallyport.checkBackend" . -}}
{{- end -}}
{{- if .on -}}
{{- if not .parents -}}
{{- fail (printf "values.%s.enabled, but values.%s.parentRefs is empty: no gateway would have it; name yours, such as [{name: public, namespace: gateways}]" .value .value) -}}
{{- end -}}
{{- include "sallyport.checkHosts" . -}}
{{- end -}}
{{- if .scim -}}
{{- include "sallyport.checkScimRoute" . -}}
{{- end -}}
{{- end }}

{{/* What the controller speaks to the pods has to be what the server expects. */}}
{{- define "sallyport.checkBackend" -}}
{{- $c := include "sallyport.parsed" .root | fromYaml -}}
{{- $endsTLS := include "sallyport.endsTLS" .root -}}
{{- if and $endsTLS (eq .backend "http") -}}
{{- fail (printf "values.%s.backend is http, but the server ends TLS itself; write tls: {off: true} in values.config, or set the backend to https (or use passthrough)" .value) -}}
{{- end -}}
{{- if and (not $endsTLS) (ne .backend "http") -}}
{{- fail (printf "values.%s passes TLS to the server, but values.config has tls: {off: true}; write tls: {cert_file: …, key_file: …}, or end TLS before the server (backend: http)" .value) -}}
{{- end -}}
{{- if ne .backend "passthrough" -}}
{{- if not $c.trusted_proxies -}}
{{- fail (printf "values.%s: values.config has no trusted_proxies, and everybody would seem to come from the controller; write trusted_proxies with the addresses of its pods" .value) -}}
{{- end -}}
{{- $listeners := default list (default dict $c.listen).proxy_protocol -}}
{{- range $listener, $on := dict "public" .on "scim" .scim -}}
{{- if and $on (has $listener $listeners) -}}
{{- fail (printf "values.%s: listen.proxy_protocol of values.config has %s, but a controller that speaks http to the pods sends no PROXY header, and each connection would be closed; leave it out" $.value $listener) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "sallyport.checkHosts" -}}
{{- $c := include "sallyport.parsed" .root | fromYaml -}}
{{- $known := include "sallyport.configHosts" .root | fromYamlArray -}}
{{- $hosts := include "sallyport.hosts" (list .root .hosts) | fromYamlArray -}}
{{- if not $hosts -}}
{{- fail (printf "values.%s.enabled, but values.config has neither public_url nor routes, whose hosts it would have" .value) -}}
{{- end -}}
{{- range $hosts -}}
{{- if or (not (regexMatch "^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" .)) (regexMatch "^[0-9.]+$" .) -}}
{{- fail (printf "values.%s: %q of values.config is not a DNS name, which it has to be there; name hosts in values.%s.%s" $.value . $.value (ternary "hosts" "hostnames" (eq $.value "ingress"))) -}}
{{- end -}}
{{- if not (include "sallyport.covers" (list . $known)) -}}
{{- fail (printf "values.%s: %q is neither the host of public_url nor that of a route in values.config, and the server would reject each request for it; add a route, or leave it out" $.value .) -}}
{{- end -}}
{{- end -}}
{{- if and (default dict $c.scim).on_public (not .allowScim) (include "sallyport.covers" (list (include "sallyport.publicHost" .root) $hosts)) -}}
{{- fail (printf "values.%s would let everybody reach SCIM, since values.config has scim.on_public: true; set values.%s.allowScim: true if that is meant, or use listen.scim and values.%s.scim" .value .value .value) -}}
{{- end -}}
{{- end }}

{{- define "sallyport.checkScimRoute" -}}
{{- if not (include "sallyport.hasScim" .root) -}}
{{- fail (printf "values.%s.scim.enabled, but values.config has no listen.scim; write listen: {scim: 0.0.0.0:8444}" .value) -}}
{{- end -}}
{{- if not .scimHost -}}
{{- fail (printf "values.%s.scim.enabled, but values.%s.scim.%s is empty: SCIM would be reached by every host; name the one that the identity provider pushes to" .value .value .scimKey) -}}
{{- end -}}
{{- if not (or .parents .scimParents) -}}
{{- fail (printf "values.%s.scim.enabled, but neither it nor values.%s has parentRefs: no gateway would have it; name yours" .value .value) -}}
{{- end -}}
{{- $hosts := concat (include "sallyport.configHosts" .root | fromYamlArray) (default list .hosts) -}}
{{- if has .scimHost $hosts -}}
{{- fail (printf "values.%s.scim.%s is %s, which is a host of applications too; SCIM needs a host of its own" .value .scimKey .scimHost) -}}
{{- end -}}
{{- end }}
