"""A Kubernetes cluster in the process: an API server over HTTP, a Job controller, and pods that run or play workers.

It keeps to what the project uses, and answers everything else with 404, as a server without that resource does.
"""
