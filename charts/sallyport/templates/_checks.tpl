{{/* Fails where values and configuration do not fit together. Every template includes it first: which one Helm renders first is not defined. */}}
{{- define "sallyport.check" -}}
{{- range list "commonLabels" "commonAnnotations" "revisionHistoryLimit" "ingress" "httpRoute" "tlsRoute" "probes" "podSecurityContext" "securityContext" -}}
{{- if not (hasKey $.Values .) -}}
{{- fail (printf "values.%s is missing: --reuse-values leaves out what is new in this chart; write --reset-then-reuse-values in its place, or -f values.yaml" .) -}}
{{- end -}}
{{- end -}}
{{- if include "sallyport.postgres" . -}}
{{- include "sallyport.checkPostgres" . -}}
{{- else if include "sallyport.several" . -}}
{{- $value := ternary "values.autoscaling is on" (printf "values.replicas is %d" (int .Values.replicas)) .Values.autoscaling.enabled -}}
{{- fail (printf "%s, but the store of values.config is a file that one server holds; for several pods write store: {postgres: {url_file: /etc/sallyport/database/url}}" $value) -}}
{{- end -}}
{{- include "sallyport.checkAutoscaling" . -}}
{{- include "sallyport.checkListeners" . -}}
{{- include "sallyport.checkLabels" . -}}
{{- include "sallyport.checkPersistence" . -}}
{{- include "sallyport.checkService" (list . "applications") -}}
{{- include "sallyport.checkService" (list . "scim") -}}
{{- include "sallyport.checkRoutes" . -}}
{{- include "sallyport.checkPod" . -}}
{{- include "sallyport.checkMonitor" . -}}
{{- end }}

{{- define "sallyport.checkAutoscaling" -}}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) -}}
{{- fail (printf "values.autoscaling: minReplicas is %d, more than maxReplicas, which is %d" (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (not (dig "requests" "cpu" "" (default dict .Values.resources))) -}}
{{- fail "values.autoscaling is on, and values.resources.requests.cpu, a share of which it counts, is not set; set it to what a pod is meant to use" -}}
{{- end -}}
{{- end }}

{{/* Fails where two listeners have one port: what is for operators alone would be reached by the Service of another. */}}
{{- define "sallyport.checkListeners" -}}
{{- $listen := default dict (include "sallyport.parsed" . | fromYaml).listen -}}
{{- $seen := dict -}}
{{- range list "public" "scim" "http" "ops" -}}
{{- $port := regexFind "[0-9]+$" (default "" (get $listen .) | toString) -}}
{{- if $port -}}
{{- if hasKey $seen $port -}}
{{- fail (printf "values.config: listen.%s and listen.%s both have port %s; each needs a port of its own" (get $seen $port) . $port) -}}
{{- end -}}
{{- $_ := set $seen $port . -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "sallyport.checkLabels" -}}
{{- $selector := list "app.kubernetes.io/name" "app.kubernetes.io/instance" -}}
{{- $own := concat $selector (list "app.kubernetes.io/component" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart") -}}
{{- range $name, $labels := dict "commonLabels" .Values.commonLabels "services.applications.labels" .Values.services.applications.labels "services.scim.labels" .Values.services.scim.labels "services.ops.labels" .Values.services.ops.labels "ingress.labels" .Values.ingress.labels "httpRoute.labels" .Values.httpRoute.labels "tlsRoute.labels" .Values.tlsRoute.labels "podLabels" .Values.podLabels -}}
{{- range $key, $_ := $labels -}}
{{- if has $key (ternary $selector $own (eq $name "podLabels")) -}}
{{- fail (printf "values.%s has %s, which the chart sets itself, since selectors go by it; leave it out (nameOverride changes app.kubernetes.io/name in a new release)" $name $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "sallyport.checkPersistence" -}}
{{- with .Values.persistence.existingClaim -}}
{{- if not (include "sallyport.hasClaims" $) -}}
{{- fail "values.persistence.existingClaim is set, but these pods have no volume: store.postgres keeps everything in the database; set values.audit.persistence: true for the record, or leave the claim out" -}}
{{- end -}}
{{- if include "sallyport.several" $ -}}
{{- fail "values.persistence.existingClaim is one volume, and there may be several pods; leave it out, and each pod has a volume of its own" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* include "sallyport.checkService" (list . "scim") */}}
{{- define "sallyport.checkService" -}}
{{- $root := index . 0 -}}{{- $key := index . 1 -}}{{- $v := get $root.Values.services $key -}}
{{- if ne $v.type "LoadBalancer" -}}
{{- if $v.loadBalancerSourceRanges -}}
{{- fail (printf "values.services.%s.loadBalancerSourceRanges restricts nobody with type %s; use values.networkPolicy.%s, or type LoadBalancer" $key $v.type $key) -}}
{{- end -}}
{{- if $v.loadBalancerClass -}}
{{- fail (printf "values.services.%s.loadBalancerClass is for type LoadBalancer; the type is %s" $key $v.type) -}}
{{- end -}}
{{- end -}}
{{- if eq $v.type "ClusterIP" -}}
{{- if or $v.nodePort $v.httpNodePort -}}
{{- fail (printf "values.services.%s has a port on each node, which is for types NodePort and LoadBalancer; the type is ClusterIP" $key) -}}
{{- end -}}
{{- if $v.externalTrafficPolicy -}}
{{- fail (printf "values.services.%s.externalTrafficPolicy is for types NodePort and LoadBalancer; the type is ClusterIP" $key) -}}
{{- end -}}
{{- end -}}
{{- if and $v.httpNodePort (not (include "sallyport.hasHttp" $root)) -}}
{{- fail (printf "values.services.%s.httpNodePort is for port 80, which the Service has only with listen.http in values.config; write listen: {http: 0.0.0.0:8080}" $key) -}}
{{- end -}}
{{- if and $v.httpNodePort (eq (int $v.nodePort) (int $v.httpNodePort)) -}}
{{- fail (printf "values.services.%s: nodePort and httpNodePort are both %d; each needs a port of its own" $key (int $v.nodePort)) -}}
{{- end -}}
{{- if and (eq (int $v.port) 80) (eq $key "applications") (include "sallyport.hasHttp" $root) -}}
{{- fail "values.services.applications.port is 80, which is that of listen.http; choose another, such as 443" -}}
{{- end -}}
{{- end }}

{{- define "sallyport.checkPod" -}}
{{- $need := include "sallyport.stopSeconds" . | int -}}
{{- if and .Values.terminationGracePeriodSeconds (lt (int .Values.terminationGracePeriodSeconds) $need) -}}
{{- fail (printf "values.terminationGracePeriodSeconds is %d, and requests would be killed: listen.drain, listen.grace and 15 seconds are %d; leave it 0, or shorten listen.grace" (int .Values.terminationGracePeriodSeconds) $need) -}}
{{- end -}}
{{- if and (eq .Values.dnsPolicy "None") (not (default dict .Values.dnsConfig).nameservers) -}}
{{- fail "values.dnsPolicy is None, and nothing could be resolved; name servers in values.dnsConfig.nameservers" -}}
{{- end -}}
{{- include "sallyport.checkVolumes" . -}}
{{- include "sallyport.checkContainers" . -}}
{{- end }}

{{- define "sallyport.checkVolumes" -}}
{{- $volumes := list "data" "run" "config" "secrets" "database" "tls" -}}
{{- range .Values.extraVolumes -}}
{{- if has .name $volumes -}}
{{- fail (printf "values.extraVolumes has %q, which is a volume of the chart or there twice; choose another name" .name) -}}
{{- end -}}
{{- $volumes = append $volumes .name -}}
{{- end -}}
{{- $paths := list "/var/lib/sallyport" "/run/sallyport" "/etc/sallyport/config" -}}
{{- if .Values.secrets.existingSecret -}}{{- $paths = append $paths "/etc/sallyport/secrets" -}}{{- end -}}
{{- if .Values.database.existingSecret -}}{{- $paths = append $paths "/etc/sallyport/database" -}}{{- end -}}
{{- if .Values.tls.existingSecret -}}{{- $paths = append $paths "/etc/sallyport/tls" -}}{{- end -}}
{{- range $mount := .Values.extraVolumeMounts -}}
{{- if not (has .name $volumes) -}}
{{- fail (printf "values.extraVolumeMounts: there is no volume %q; add it to values.extraVolumes" .name) -}}
{{- end -}}
{{- $path := clean .mountPath -}}
{{- range $paths -}}
{{- $below := and (hasPrefix (printf "%s/" .) $path) (hasPrefix "/etc/" .) -}}
{{- if or (eq $path .) $below (hasPrefix (printf "%s/" (trimSuffix "/" $path)) .) -}}
{{- fail (printf "values.extraVolumeMounts: %s would hide %s, or lies in it; mount it elsewhere" $mount.mountPath .) -}}
{{- end -}}
{{- end -}}
{{- $paths = append $paths $path -}}
{{- end -}}
{{- end }}

{{/* Fails where a container could be taken for Sallyport's: a Service finds its port by name. */}}
{{- define "sallyport.checkContainers" -}}
{{- $listen := default dict (include "sallyport.parsed" . | fromYaml).listen -}}
{{- $names := list "sallyport" -}}
{{- range concat .Values.initContainers .Values.extraContainers -}}
{{- $container := .name -}}
{{- if has .name $names -}}
{{- fail (printf "values.extraContainers and values.initContainers: there is a container %q already; choose another name" .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- range default list .ports -}}
{{- if has (default "" .name) (list "applications" "scim" "http" "ops") -}}
{{- fail (printf "values.extraContainers: the port %q of %s has the name of a port of Sallyport, by which Services find it; choose another name" .name $container) -}}
{{- end -}}
{{- $port := int .containerPort -}}
{{- range list "public" "scim" "http" "ops" -}}
{{- if eq (regexFind "[0-9]+$" (default "" (get $listen .) | toString)) (toString $port) -}}
{{- fail (printf "values.extraContainers: port %d of %s is listen.%s of values.config; containers of a pod share their ports" $port $container .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "sallyport.checkMonitor" -}}
{{- with .Values.serviceMonitor -}}
{{- if .scrapeTimeout -}}
{{- if gt (include "sallyport.seconds" .scrapeTimeout | int) (include "sallyport.seconds" .interval | int) -}}
{{- fail (printf "values.serviceMonitor.scrapeTimeout is %s, longer than interval, which is %s" .scrapeTimeout .interval) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "sallyport.seconds" -}}
{{- mul (ternary 60 1 (hasSuffix "m" .)) (regexFind "^[0-9]+" . | int) -}}
{{- end }}

{{- define "sallyport.checkPostgres" -}}
{{- $c := include "sallyport.parsed" . | fromYaml -}}
{{- $postgres := ternary $c.store.postgres dict (kindIs "map" $c.store.postgres) -}}
{{- if $postgres.replica -}}
{{- fail (printf "values.config: store.postgres.replica is %q, and every pod would have that name; leave it out, and each pod has its own" $postgres.replica) -}}
{{- end -}}
{{- $url := default "" $postgres.url_file -}}
{{- $mounted := "" -}}
{{- range .Values.extraVolumeMounts -}}{{- if hasPrefix (printf "%s/" (trimSuffix "/" .mountPath)) $url -}}{{- $mounted = "true" -}}{{- end -}}{{- end -}}
{{- if not (or $mounted (and .Values.database.existingSecret (hasPrefix "/etc/sallyport/database/" $url)) (and .Values.secrets.existingSecret (hasPrefix "/etc/sallyport/secrets/" $url))) -}}
{{- fail (printf "values.config: store.postgres.url_file is %q, which is in no secret that the pod has; set values.database.existingSecret, and write /etc/sallyport/database/url for its key url" $url) -}}
{{- end -}}
{{- if lt (include "sallyport.drainSeconds" . | int) 5 -}}
{{- fail "values.config: listen.drain must be 5s or more with store.postgres: a pod that stops accepts connections until everybody knows that it stops; write listen: {drain: 15s}" -}}
{{- end -}}
{{- if not (or .Values.audit.persistence (default dict $c.audit).sinks) -}}
{{- fail "values.config has no audit.sinks, and the record of a pod would be deleted with the pod; add a sink, or set values.audit.persistence: true" -}}
{{- end -}}
{{- if and .Values.networkPolicy.egress.enabled (not .Values.networkPolicy.egress.database) -}}
{{- fail "values.networkPolicy.egress.database is empty, and the database could not be reached; name its pods or addresses" -}}
{{- end -}}
{{- end }}
