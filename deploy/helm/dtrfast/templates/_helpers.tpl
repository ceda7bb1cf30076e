{{- define "dtrfast.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- /* 52 characters: a StatefulSet adds a hash of 10 and a dash to its name in a label of 63. */}}
{{- define "dtrfast.fullname" -}}
{{- $name := include "dtrfast.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "dtrfast.selector" -}}
app.kubernetes.io/name: {{ include "dtrfast.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "dtrfast.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "dtrfast.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "dtrfast.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "dtrfast.fullname" .) "default") }}
{{- end }}

{{- define "dtrfast.image" -}}
{{- $image := .Values.image }}
{{- if $image.digest }}
{{- printf "%s@%s" $image.repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "dtrfast.claim" -}}
{{- .Values.persistence.existingClaim | default (include "dtrfast.fullname" .) }}
{{- end }}

{{- define "dtrfast.tlsSecret" -}}
{{- .Values.tls.existingSecret | default (printf "%s-tls" (include "dtrfast.fullname" .)) }}
{{- end }}

{{- define "dtrfast.externalUrl" -}}
{{- if .Values.externalUrl }}
{{- .Values.externalUrl | trimSuffix "/" }}
{{- else if .Values.ingress.enabled }}
{{- printf "%s://%s" (.Values.ingress.tls | empty | ternary "http" "https") (first .Values.ingress.hosts) }}
{{- else if and .Values.httpRoute.enabled .Values.httpRoute.hostnames }}
{{- printf "https://%s" (first .Values.httpRoute.hostnames) }}
{{- end }}
{{- end }}

{{- define "dtrfast.settings" -}}
{{- $chart := dict "tls" "off" "external_url" (include "dtrfast.externalUrl" .) }}
{{- if .Values.tls.enabled }}
{{- $chart = merge (dict "tls" "auto" "tls_cert" "/etc/dtrfast/tls/tls.crt" "tls_key" "/etc/dtrfast/tls/tls.key") $chart }}
{{- end }}
{{- $_ := set $chart "trusted_proxies" (concat (list "127.0.0.0/8" "::1/128") .Values.trustedProxies) }}
{{- $sections := deepCopy .Values.settings }}
{{- $_ := set $sections "server" (merge $chart (default dict $sections.server)) }}
{{- range $section, $fields := $sections }}
[{{ $section }}]
{{- range $field, $value := $fields }}
{{ $field }} = {{ toJson $value }}
{{- end }}
{{ end }}
{{- end }}

{{- /* The kubelet sends no PROXY header and has no client's certificate. The image's own check does. */}}
{{- define "dtrfast.probe" -}}
{{- $server := .root.Values.settings.server | default dict }}
{{- if or (eq (toString $server.proxy_protocol) "required") $server.tls_client_ca -}}
exec:
  command: [/opt/dtrfast/bin/python, -I, /opt/dtrfast/healthcheck.py, {{ .path }}]
{{- else -}}
httpGet:
  path: {{ .path }}
  port: registry
  scheme: {{ .root.Values.tls.enabled | ternary "HTTPS" "HTTP" }}
{{- end }}
{{ toYaml .probe }}
{{- end }}

{{- define "dtrfast.check" -}}
{{- $values := .Values }}
{{- if and (or $values.ingress.enabled $values.httpRoute.enabled) (empty $values.trustedProxies) }}
{{- fail "trustedProxies is empty: name the networks of the pods of your ingress controller or gateway. Otherwise all clients count as one client. See the networks with: kubectl get nodes -o jsonpath='{.items[*].spec.podCIDRs}'" }}
{{- end }}
{{- if and $values.ingress.enabled (empty $values.ingress.hosts) }}
{{- fail "ingress.hosts is empty: name the host that clients use, such as registry.example" }}
{{- end }}
{{- if and $values.httpRoute.enabled (empty $values.httpRoute.parentRefs) }}
{{- fail "httpRoute.parentRefs is empty: name the gateway, such as {name: public, namespace: gateways}" }}
{{- end }}
{{- if and $values.httpRoute.enabled (empty $values.httpRoute.hostnames) (empty $values.externalUrl) }}
{{- fail "httpRoute.hostnames is empty: name the host that clients use there, or in externalUrl" }}
{{- end }}
{{- if and (eq (toString ($values.settings.server | default dict).proxy_protocol) "required") (empty $values.trustedProxies) }}
{{- fail "trustedProxies is empty: with server.proxy_protocol, name the networks of the load balancer" }}
{{- end }}
{{- $tls := $values.tls }}
{{- if and $tls.enabled (not $tls.existingSecret) (not (and $tls.certificate $tls.key)) }}
{{- fail "tls.enabled needs tls.existingSecret, or tls.certificate and tls.key" }}
{{- end }}
{{- if and (not $tls.enabled) (or $tls.existingSecret $tls.certificate $tls.key) }}
{{- fail "a certificate without tls.enabled: set tls.enabled=true, or remove it" }}
{{- end }}
{{- $service := $values.service }}
{{- if and (ne $service.type "ClusterIP") (not $tls.enabled) (not (hasPrefix "https://" (include "dtrfast.externalUrl" .))) }}
{{- fail (printf "service.type=%s without TLS: passwords would cross the network in plain text. Set tls.enabled=true, or externalUrl=https://… if a load balancer terminates TLS" $service.type) }}
{{- end }}
{{- if and (eq $service.type "ClusterIP") $service.nodePort }}
{{- fail "service.nodePort needs service.type=NodePort or LoadBalancer: Kubernetes refuses it with ClusterIP" }}
{{- end }}
{{- if and (eq $service.type "ClusterIP") $service.externalTrafficPolicy }}
{{- fail "service.externalTrafficPolicy needs service.type=NodePort or LoadBalancer: Kubernetes refuses it with ClusterIP" }}
{{- end }}
{{- if and (ne $service.type "LoadBalancer") $service.loadBalancerSourceRanges }}
{{- fail "service.loadBalancerSourceRanges needs service.type=LoadBalancer: Kubernetes refuses it with others" }}
{{- end }}
{{- end }}
