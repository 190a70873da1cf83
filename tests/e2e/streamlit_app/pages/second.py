"""A page of its own: a document path below the root."""

import facts
import streamlit as st

st.title("Second page")
facts.show()
