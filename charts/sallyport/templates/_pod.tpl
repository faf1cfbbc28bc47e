{{/* The pod: the same for one server with a file, and for several with a database. */}}
{{- define "sallyport.pod" -}}
metadata:
  labels:
    {{- include "sallyport.selector" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: sallyport
    {{- if .Values.restartOnConfigChange }}
    checksum/config: {{ sha256sum .Values.config }}
    {{- end }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  serviceAccountName: {{ include "sallyport.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "sallyport.stopSeconds" . }}  # listen.drain, listen.grace and 15 s
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
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
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      startupProbe:
        httpGet: {path: /healthz, port: ops}  # which responds once the directory is loaded, on a full disk too
        periodSeconds: 1
        failureThreshold: 120  # a large directory takes seconds to load
      readinessProbe:
        httpGet: {path: /readyz, port: ops}
        periodSeconds: 5
      livenessProbe:
        httpGet: {path: /healthz, port: ops}
        periodSeconds: 10
        failureThreshold: 6
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
  volumes:
    {{- if not (include "sallyport.hasClaims" .) }}
    - name: data
      emptyDir: {}  # no limit: the kubelet ends a pod that is over one, and every pod reaches it at about the same time
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
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if include "sallyport.postgres" . }}
  topologySpreadConstraints:
    {{- if .Values.topologySpreadConstraints }}
    {{- toYaml .Values.topologySpreadConstraints | nindent 4 }}
    {{- else }}
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
