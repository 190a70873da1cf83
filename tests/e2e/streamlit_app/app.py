"""The application of all four personas; CHAT_APP_VARIANT says which one this process is.

Every text that a test looks at is computed here, on the server, so that seeing it proves a round
trip over the WebSocket.
"""

import hashlib
import json
import os

import streamlit as st

variant = os.environ["CHAT_APP_VARIANT"]
st.title(f"Chat for {variant}")

if "presses" not in st.session_state:
    st.session_state.presses = 0
if st.button("Press", key="press"):
    st.session_state.presses += 1
st.text(f"{variant} presses: {st.session_state.presses}")

if message := st.chat_input("Say something"):
    st.text(f"{variant} heard: {message[::-1]}")

if upload := st.file_uploader("Document", key="upload"):
    content = upload.getvalue()
    st.text(f"{upload.name}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")

st.code(json.dumps({name.lower(): value for name, value in st.context.headers.items()}), language=None)
