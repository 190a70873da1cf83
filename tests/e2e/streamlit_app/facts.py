"""What an app is told about its visitor, as one line of JSON that a test can read."""

import json
from uuid import uuid4

import streamlit as st


def show() -> None:
    """Headers are lists: a second value of a name would be a second answer to "who is it"."""
    headers = st.context.headers
    user = st.user if hasattr(st, "user") else st.experimental_user
    facts = {
        "headers": {name.lower(): headers.get_all(name) for name in headers},
        "user": user.to_dict(),
        "query": st.query_params.to_dict(),
        "born": st.session_state.setdefault("born", str(uuid4())),
        "owner": st.session_state.setdefault("owner", headers.get("X-Vestibule-User-Id")),
        "messages": st.session_state.setdefault("messages", []),
        "version": st.__version__,
        "port": st.get_option("server.port"),
    }
    st.text("facts: " + json.dumps(facts, sort_keys=True))
