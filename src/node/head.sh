# labctl: the beginning of every script that only reads: one language, one search path.
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL PATH
# Nothing within a lab is behind a login's proxy.
NO_PROXY='*'
no_proxy='*'
export NO_PROXY no_proxy
