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

{{- define "sallyport.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "sallyport.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
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
The configuration file, parsed, to read `listen` (ports and times) and `scim.on_public` from it: the only keys the chart looks at.
Whether the rest is right is for `sallyport validate` to say.
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
{{- $root := index . 0 -}}{{- $door := index . 1 -}}{{- $suggest := index . 2 -}}
{{- $listen := default dict (include "sallyport.parsed" $root | fromYaml).listen -}}
{{- $address := default "" (get $listen $door) -}}
{{- if not (regexMatch ":[1-9][0-9]*$" $address) -}}
{{- fail (printf "values.config: listen.%s must be an address with a port, like %s; it is %q" $door $suggest $address) -}}
{{- end -}}
{{- if regexMatch "^(127\\.|localhost:|\\[::1\\])" $address -}}
{{- fail (printf "values.config: listen.%s is %s, which nothing outside the container can reach; write %s" $door $address $suggest) -}}
{{- end -}}
{{- regexReplaceAll "^.*:" $address "" -}}
{{- end }}

{{/* How long the server may take to stop, in seconds: listen.drain and listen.grace, and 15 for what comes after. */}}
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

{{/* One of the two outward Services: include "sallyport.service" (list . "scim" "scim"), values key and port name. */}}
{{- define "sallyport.service" -}}
{{- $root := index . 0 -}}{{- $key := index . 1 -}}{{- $v := get $root.Values.services $key -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "sallyport.fullname" $root }}-{{ $key }}
  labels:
    {{- include "sallyport.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ $key }}
  {{- with $v.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ $v.type }}
  {{- if ne $v.type "ClusterIP" }}
  externalTrafficPolicy: Local  # keeps the callers' addresses for the audit record
  {{- end }}
  {{- with $v.loadBalancerSourceRanges }}
  loadBalancerSourceRanges:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if eq $key "scim" }}
  publishNotReadyAddresses: true  # on a full disk the server is not ready, and deactivations still have to arrive
  {{- end }}
  selector:
    {{- include "sallyport.selector" $root | nindent 4 }}
  ports:
    - name: {{ $key }}
      port: {{ $v.port }}
      targetPort: {{ $key }}
    {{- if and (eq $key "applications") (include "sallyport.hasHttp" $root) }}
    - name: http
      port: 80  # where browsers and ACME's HTTP-01 look
      targetPort: http
    {{- end }}
{{- end }}
