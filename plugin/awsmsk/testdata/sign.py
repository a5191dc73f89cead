"""Writes vectors.json: signatures of kafka-cluster:Connect by AWS Signature Version 4 for query strings, made with hashlib alone.

python3 sign.py > vectors.json
"""
import hashlib, hmac, json
from urllib.parse import quote

EMPTY = hashlib.sha256(b"").hexdigest()

def sign(key, secret, token, host, region, date):
    day = date[:8]
    scope = "/".join([day, region, "kafka-cluster", "aws4_request"])
    query = {"Action": "kafka-cluster:Connect", "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": key + "/" + scope, "X-Amz-Date": date, "X-Amz-Expires": "900", "X-Amz-SignedHeaders": "host"}
    if token:
        query["X-Amz-Security-Token"] = token
    canonical_query = "&".join(quote(k, safe="-_.~") + "=" + quote(query[k], safe="-_.~") for k in sorted(query))
    canonical = "\n".join(["GET", "/", canonical_query, "host:" + host, "", "host", EMPTY])
    text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    k = ("AWS4" + secret).encode()
    for part in (day, region, "kafka-cluster", "aws4_request"):
        k = hmac.new(k, part.encode(), hashlib.sha256).digest()
    query["X-Amz-Signature"] = hmac.new(k, text.encode(), hashlib.sha256).hexdigest()
    members = {"version": "2020_10_22", "host": host, "user-agent": "quill"}
    members.update({k.lower(): v for k, v in query.items()})
    return {"key": key, "secret": secret, "token": token, "host": host, "region": region, "date": date, "members": members}

print(json.dumps([
    sign("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "", "b-1.demo.abc123.c2.kafka.us-east-1.amazonaws.com", "us-east-1", "20261130T000001Z"),
    sign("ASIDEXAMPLE", "s", "a/token+with=signs &more", "boot-abc123.c3.kafka-serverless.eu-west-1.amazonaws.com", "eu-west-1", "20240229T235959Z"),
    sign("AKIDEXAMPLE", "s", "t", "b-2.demo.abc123.c2.kafka.cn-north-1.amazonaws.com.cn", "cn-north-1", "20270101T120000Z"),
], indent=1))
