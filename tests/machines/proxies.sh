# A company's machine: all that logs in has a proxy, which does not answer.
# controller, equal
for name in http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY; do
  echo "$name=http://192.0.2.250:3128"
done >> /etc/environment
echo 'no_proxy=localhost' >> /etc/environment
