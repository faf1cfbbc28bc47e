{{- define "sallyport.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* The name of everything made; 40 letters leave room for "-applications" and the pod's "-0". */}}
{{- define "sallyport.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "sallyport.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "sallyport.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "sallyport.selector" -}}
app.kubernetes.io/name: {{ include "sallyport.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The labels of every object that are the chart's own. */}}
{{- define "sallyport.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "sallyport.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/*
Labels and annotations of one object: include "sallyport.meta" (dict "root" $ "labels" … "annotations" … "component" …).
The chart's own labels win, since selectors go by them.
*/}}
{{- define "sallyport.meta" -}}
{{- $own := include "sallyport.labels" .root | fromYaml -}}
{{- with .component -}}{{- $_ := set $own "app.kubernetes.io/component" . -}}{{- end -}}
{{- $labels := dict -}}
{{- range list .root.Values.commonLabels .labels $own -}}{{- range $k, $v := default dict . -}}{{- $_ := set $labels $k $v -}}{{- end -}}{{- end -}}
{{- $annotations := dict -}}
{{- range list .root.Values.commonAnnotations .annotations -}}{{- range $k, $v := default dict . -}}{{- $_ := set $annotations $k $v -}}{{- end -}}{{- end -}}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "sallyport.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "sallyport.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "sallyport.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end }}

{{/*
The configuration file, parsed. The chart looks at `listen` (ports, times, the PROXY protocol), `scim.on_public`, the kind of `store`,
whether there are `audit.sinks`, and for an Ingress and routes at `tls.off`, `trusted_proxies` and the hosts. Whether the rest is
right is for `sallyport validate` to say.
*/}}
{{- define "sallyport.parsed" -}}
{{- $c := fromYaml .Values.config -}}
{{- if hasKey $c "Error" -}}
{{- fail (printf "values.config is not YAML: %s" $c.Error) -}}
{{- end -}}
{{- toYaml $c -}}
{{- end }}

{{/* The port of one listener: include "sallyport.port" (list . "public" "0.0.0.0:8443"), the last being what to suggest. */}}
{{- define "sallyport.port" -}}
{{- $root := index . 0 -}}{{- $listener := index . 1 -}}{{- $suggest := index . 2 -}}
{{- $listen := default dict (include "sallyport.parsed" $root | fromYaml).listen -}}
{{- $address := default "" (get $listen $listener) -}}
{{- if not (regexMatch ":[1-9][0-9]*$" $address) -}}
{{- fail (printf "values.config: listen.%s must be an address with a port, like %s; it is %q" $listener $suggest $address) -}}
{{- end -}}
{{- if regexMatch "^(127\\.|localhost:|\\[::1\\])" $address -}}
{{- fail (printf "values.config: listen.%s is %s, which nothing outside the container can reach; write %s" $listener $address $suggest) -}}
{{- end -}}
{{- regexReplaceAll "^.*:" $address "" -}}
{{- end }}

{{/* How long the server may take to stop, in seconds: listen.drain and listen.grace, and 15 for what comes after; or longer. */}}
{{- define "sallyport.terminationSeconds" -}}
{{- default (include "sallyport.stopSeconds" .) (.Values.terminationGracePeriodSeconds | int) -}}
{{- end }}

{{- define "sallyport.stopSeconds" -}}
{{- $listen := default dict (include "sallyport.parsed" . | fromYaml).listen -}}
{{- $start := toDate "2006-01-02" "2000-01-01" -}}
{{- $end := $start | mustDateModify (toString (default "0s" $listen.drain)) | mustDateModify (toString (default "30s" $listen.grace)) -}}
{{- add 15 (sub ($end | unixEpoch | int64) ($start | unixEpoch | int64)) -}}
{{- end }}

{{/* "true" where SCIM has a listener of its own. */}}
{{- define "sallyport.hasScim" -}}
{{- $c := include "sallyport.parsed" . | fromYaml -}}
{{- if (default dict $c.listen).scim -}}true
{{- else if not (default dict $c.scim).on_public -}}
{{- fail "values.config: listen.scim is missing; write 0.0.0.0:8444 (or scim.on_public: true, to be pushed to on the applications' listener)" -}}
{{- end -}}
{{- end }}

{{/* "true" where browsers are sent from http to https. */}}
{{- define "sallyport.hasHttp" -}}
{{- $c := include "sallyport.parsed" . | fromYaml -}}
{{- if (default dict $c.listen).http -}}true{{- end -}}
{{- end }}

{{/* One of the two outward Services: include "sallyport.service" (list . "scim"): the key in values and the name of the port. */}}
{{- define "sallyport.service" -}}
{{- $root := index . 0 -}}{{- $key := index . 1 -}}{{- $v := get $root.Values.services $key -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "sallyport.fullname" $root }}-{{ $key }}
  {{- include "sallyport.meta" (dict "root" $root "labels" $v.labels "annotations" $v.annotations "component" $key) | nindent 2 }}
spec:
  type: {{ $v.type }}
  {{- if ne $v.type "ClusterIP" }}
  externalTrafficPolicy: {{ default "Local" $v.externalTrafficPolicy }}
  {{- end }}
  {{- with $v.loadBalancerClass }}
  loadBalancerClass: {{ . }}
  {{- end }}
  {{- with $v.loadBalancerSourceRanges }}
  loadBalancerSourceRanges:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.ipFamilyPolicy }}
  ipFamilyPolicy: {{ . }}
  {{- end }}
  {{- with $v.ipFamilies }}
  ipFamilies:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if and (eq $key "scim") (not (include "sallyport.postgres" $root)) }}
  publishNotReadyAddresses: true  # on a full disk the server is not ready, and deactivations still have to arrive
  {{- end }}
  selector:
    {{- include "sallyport.selector" $root | nindent 4 }}
  ports:
    - name: {{ $key }}
      port: {{ $v.port }}
      targetPort: {{ $key }}
      {{- with $v.appProtocol }}
      appProtocol: {{ . }}
      {{- end }}
      {{- with $v.nodePort }}
      nodePort: {{ . }}
      {{- end }}
    {{- if and (eq $key "applications") (include "sallyport.hasHttp" $root) }}
    - name: http
      port: 80  # where browsers and ACME's HTTP-01 look
      targetPort: http
      {{- with $v.httpNodePort }}
      nodePort: {{ . }}
      {{- end }}
    {{- end }}
{{- end }}

{{/* "true" where the store is a database, which several pods may use. */}}
{{- define "sallyport.postgres" -}}
{{- $store := default dict (include "sallyport.parsed" . | fromYaml).store -}}
{{- if kindIs "map" $store -}}
{{- if hasKey $store "postgres" -}}true{{- end -}}
{{- end -}}
{{- end }}

{{/* "true" where there is more than one pod. */}}
{{- define "sallyport.several" -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.replicas) 1) -}}true{{- end -}}
{{- end }}

{{/* "true" where each pod has a name that stays and a volume of its own: for a store that is a file, or a record that is kept. */}}
{{- define "sallyport.hasClaims" -}}
{{- if or (not (include "sallyport.postgres" .)) .Values.audit.persistence -}}true{{- end -}}
{{- end }}

{{/* "true" where the StatefulSet makes a claim for each pod. */}}
{{- define "sallyport.makesClaims" -}}
{{- if and (include "sallyport.hasClaims" .) (not .Values.persistence.existingClaim) -}}true{{- end -}}
{{- end }}

{{- define "sallyport.kind" -}}
{{- ternary "StatefulSet" "Deployment" (eq (include "sallyport.hasClaims" .) "true") -}}
{{- end }}

{{/* The label by which pods of one version of the pod template are told from others. */}}
{{- define "sallyport.revisionLabel" -}}
{{- ternary "controller-revision-hash" "pod-template-hash" (eq (include "sallyport.hasClaims" .) "true") -}}
{{- end }}

{{/* Seconds between SIGTERM and the moment in which the listeners close. */}}
{{- define "sallyport.drainSeconds" -}}
{{- $listen := default dict (include "sallyport.parsed" . | fromYaml).listen -}}
{{- $start := toDate "2006-01-02" "2000-01-01" -}}
{{- sub (mustDateModify (toString (default "0s" $listen.drain)) $start | unixEpoch | int64) ($start | unixEpoch | int64) -}}
{{- end }}
