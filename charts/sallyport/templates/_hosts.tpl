{{/* The hosts that the configuration knows, as a YAML list: that of public_url, then those of the routes. */}}
{{- define "sallyport.configHosts" -}}
{{- $c := include "sallyport.parsed" . | fromYaml -}}
{{- $hosts := list -}}
{{- with include "sallyport.publicHost" . -}}{{- $hosts = append $hosts . -}}{{- end -}}
{{- if kindIs "slice" $c.routes -}}
{{- range $c.routes -}}
{{- if kindIs "map" . -}}{{- with .host -}}{{- $hosts = append $hosts (toString . | lower) -}}{{- end -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- uniq $hosts | toYaml -}}
{{- end }}

{{- define "sallyport.publicHost" -}}
{{- $c := include "sallyport.parsed" . | fromYaml -}}
{{- regexReplaceAll "^[a-z]+://([^/:]*).*$" (default "" $c.public_url | toString | lower) "${1}" -}}
{{- end }}

{{/* The hosts of an Ingress or route: include "sallyport.hosts" (list $ .Values.ingress.hosts). */}}
{{- define "sallyport.hosts" -}}
{{- with index . 1 -}}
{{- toYaml . -}}
{{- else -}}
{{- include "sallyport.configHosts" (index . 0) -}}
{{- end -}}
{{- end }}

{{/* "true" where a host is among others, or either is a wildcard that covers the other: include "sallyport.covers" (list "a.example.com" $hosts). */}}
{{- define "sallyport.covers" -}}
{{- $host := index . 0 -}}
{{- $covers := "" -}}
{{- range index . 1 -}}
{{- if or (eq . $host) (regexMatch (include "sallyport.hostPattern" .) $host) (regexMatch (include "sallyport.hostPattern" $host) .) -}}
{{- $covers = "true" -}}
{{- end -}}
{{- end -}}
{{- $covers -}}
{{- end }}

{{- define "sallyport.hostPattern" -}}
{{- if hasPrefix "*." . -}}
{{- printf "^[^.]+%s$" (trimPrefix "*" . | replace "." "\\.") -}}
{{- else -}}
{{- printf "^%s$" (replace "." "\\." .) -}}
{{- end -}}
{{- end }}

{{/* "true" where the server ends TLS itself. A key `off` is a boolean to some readers of YAML. */}}
{{- define "sallyport.endsTLS" -}}
{{- $tls := default dict (include "sallyport.parsed" . | fromYaml).tls -}}
{{- if kindIs "map" $tls -}}
{{- if not (or (get $tls "off") (get $tls "false")) -}}true{{- end -}}
{{- end -}}
{{- end }}

{{- define "sallyport.tlsRouteVersion" -}}
{{- $group := "gateway.networking.k8s.io" -}}
{{- $version := .Values.tlsRoute.apiVersion -}}
{{- range list "v1" "v1alpha3" "v1alpha2" -}}
{{- if and (not $version) ($.Capabilities.APIVersions.Has (printf "%s/%s/TLSRoute" $group .)) -}}
{{- $version = printf "%s/%s" $group . -}}
{{- end -}}
{{- end -}}
{{- default (printf "%s/v1" $group) $version -}}
{{- end }}
