# Signs launches of {{NAME}}. On your server only: the secret must never reach a page.
import hashlib
import hmac
import time
from urllib.parse import urlencode


def sign(secret, params=()):
    """What goes behind the `?`. `params` is a dict, or a list of (name, value)."""
    pairs = list(params.items() if hasattr(params, "items") else params)
    if not any(name == "timestamp" for name, _ in pairs):
        pairs.append(("timestamp", time.time_ns() // 1_000_000))
    pairs.sort(key=lambda pair: pair[0].encode("utf-16-be"))
    text = urlencode(pairs, safe="*").replace("~", "%7E")
    return text + "&signature=" + hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


# url = "{{URL}}?" + sign(os.environ["SIGNING_SECRET"], { {{EXAMPLE_PY}} })
# A form that is posted to {{URL}} has one hidden field
# for each pair of `parse_qsl(sign(...), keep_blank_values=True)`, and nothing else.
