{{/* The pod: the same for one server with a file, and for several with a database. */}}
{{- define "sallyport.pod" -}}
metadata:
  {{- $labels := dict }}
  {{- range list .Values.commonLabels .Values.podLabels (include "sallyport.selector" . | fromYaml) }}{{ range $k, $v := . }}{{ $_ := set $labels $k $v }}{{ end }}{{ end }}
  labels:
    {{- toYaml $labels | nindent 4 }}
  {{- $annotations := dict "kubectl.kubernetes.io/default-container" "sallyport" }}
  {{- if .Values.restartOnConfigChange }}{{ $_ := set $annotations "checksum/config" (sha256sum .Values.config) }}{{ end }}
  {{- range $k, $v := .Values.podAnnotations }}{{ $_ := set $annotations $k $v }}{{ end }}
  annotations:
    {{- toYaml $annotations | nindent 4 }}
spec:
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  serviceAccountName: {{ include "sallyport.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "sallyport.terminationSeconds" . }}  # listen.drain, listen.grace and 15 s, or more
  securityContext:
    {{- range $k, $v := .Values.podSecurityContext }}
    {{- if $v }}
    {{- toYaml (dict $k $v) | nindent 4 }}
    {{- end }}
    {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with .Values.hostAliases }}
  hostAliases:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.dnsPolicy }}
  dnsPolicy: {{ . }}
  {{- end }}
  {{- with .Values.dnsConfig }}
  dnsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.initContainers }}
  initContainers:
    {{- include "sallyport.containers" (list $ .) | nindent 4 }}
  {{- end }}
  containers:
    - name: sallyport
      image: {{ include "sallyport.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      workingDir: /etc/sallyport/config
      args: [serve{{ if .Values.init }}, --init{{ end }}]
      {{- with .Values.extraEnv }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - {name: applications, containerPort: {{ include "sallyport.port" (list . "public" "0.0.0.0:8443") }}}
        {{- if include "sallyport.hasScim" . }}
        - {name: scim, containerPort: {{ include "sallyport.port" (list . "scim" "0.0.0.0:8444") }}}
        {{- end }}
        {{- if include "sallyport.hasHttp" . }}
        - {name: http, containerPort: {{ include "sallyport.port" (list . "http" "0.0.0.0:8080") }}}
        {{- end }}
        - {name: ops, containerPort: {{ include "sallyport.port" (list . "ops" "0.0.0.0:9090") }}}
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      startupProbe:
        httpGet: {path: /healthz, port: ops}  # which responds once the directory is loaded, on a full disk too
        {{- toYaml .Values.probes.startup | nindent 8 }}
      readinessProbe:
        httpGet: {path: /readyz, port: ops}
        {{- toYaml .Values.probes.readiness | nindent 8 }}
      livenessProbe:
        httpGet: {path: /healthz, port: ops}
        {{- toYaml .Values.probes.liveness | nindent 8 }}
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - {name: data, mountPath: /var/lib/sallyport}
        - {name: run, mountPath: /run/sallyport}
        - {name: config, mountPath: /etc/sallyport/config, readOnly: true}
        {{- if .Values.secrets.existingSecret }}
        - {name: secrets, mountPath: /etc/sallyport/secrets, readOnly: true}
        {{- end }}
        {{- if .Values.database.existingSecret }}
        - {name: database, mountPath: /etc/sallyport/database, readOnly: true}
        {{- end }}
        {{- if .Values.tls.existingSecret }}
        - {name: tls, mountPath: /etc/sallyport/tls, readOnly: true}
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with .Values.extraContainers }}
    {{- include "sallyport.containers" (list $ .) | nindent 4 }}
    {{- end }}
  volumes:
    {{- if not (include "sallyport.hasClaims" .) }}
    - name: data
      emptyDir: {}  # no limit: the kubelet ends a pod that is over one, and every pod reaches it at about the same time
    {{- else if .Values.persistence.existingClaim }}
    - name: data
      persistentVolumeClaim: {claimName: {{ .Values.persistence.existingClaim | quote }}}
    {{- end }}
    - name: run
      emptyDir: {medium: Memory, sizeLimit: 1Mi}
    - name: config
      configMap: {name: {{ include "sallyport.fullname" . }}}
    {{- with .Values.secrets.existingSecret }}
    - name: secrets
      secret: {secretName: {{ . | quote }}, defaultMode: 0440}
    {{- end }}
    {{- if .Values.database.existingSecret }}
    - name: database
      projected:
        defaultMode: 0440
        sources:
          - secret: {name: {{ .Values.database.existingSecret | quote }}}
          {{- with .Values.database.caSecret }}
          - secret: {name: {{ . | quote }}, items: [{key: ca.crt, path: ca.crt}]}
          {{- end }}
    {{- end }}
    {{- with .Values.tls.existingSecret }}
    - name: tls
      secret: {secretName: {{ . | quote }}, defaultMode: 0440}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml . | nindent 4 }}
  {{- else }}
  {{- if include "sallyport.postgres" . }}
  topologySpreadConstraints:
    {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ $key }}
      whenUnsatisfiable: ScheduleAnyway  # a cluster of one node, or a zone that is gone, must not keep pods from running
      labelSelector:
        matchLabels:
          {{- include "sallyport.selector" $ | nindent 10 }}
      matchLabelKeys: [{{ include "sallyport.revisionLabel" $ }}]  # the pods that a rolling update ends do not count
    {{- end }}
  {{- end }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* Containers of values: include "sallyport.containers" (list $ .Values.extraContainers). One without a security context gets the chart's. */}}
{{- define "sallyport.containers" -}}
{{- $root := index . 0 -}}
{{- $containers := list -}}
{{- range index . 1 -}}
{{- if hasKey . "securityContext" -}}
{{- $containers = append $containers . -}}
{{- else -}}
{{- $containers = append $containers (set (deepCopy .) "securityContext" $root.Values.securityContext) -}}
{{- end -}}
{{- end -}}
{{- toYaml $containers -}}
{{- end }}
