"""The application behind every persona, written as an app that trusts its front door.

Every text that a test looks at is computed here, on the server, so that seeing it proves a round
trip over the WebSocket.
"""

import hashlib

import facts
import streamlit as st

persona = st.context.headers.get("X-Vestibule-Persona", "nobody")
st.title(f"Chat for {persona}")

if "presses" not in st.session_state:
    st.session_state.presses = 0
if st.button("Press", key="press"):
    st.session_state.presses += 1
st.text(f"{persona} presses: {st.session_state.presses}")

if message := st.chat_input("Say something"):
    st.session_state.setdefault("messages", []).append(message)
    st.text(f"{persona} heard: {message[::-1]}")

if upload := st.file_uploader("Document", key="upload"):
    content = upload.getvalue()
    st.text(f"{upload.name}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")

facts.show()
