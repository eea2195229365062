#!/bin/bash
# The shape of the real image's launch_sqlservr.sh since SQL Server 2022 CU18: the server in the background, then
# `wait`, and no trap. As process 1 bash ignores SIGTERM, so nothing but SIGKILL ends the container.
"$@" &
wait $!
