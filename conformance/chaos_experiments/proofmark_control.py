"""A control that does what its arguments say at the places they name, and leaves a mark of every call."""
from chaoslib.exceptions import InterruptExecution


def act(place, context, state, configuration, secrets, experiment, on=None, do=None, mark=True):
    if mark and isinstance(context, dict):
        context.setdefault("marks", []).append(place)
    if mark and isinstance(state, dict):
        state.setdefault("seen", []).append(place)
    if on != place:
        return
    if do == "raise":
        raise RuntimeError("oops")
    if do == "interrupt":
        raise InterruptExecution("as asked")
    if do == "leave":
        raise SystemExit(20)
    if do == "configure":
        configuration["added"] = "by control"
    if do == "state" and isinstance(state, dict):
        state["output"] = "replaced"
    if do == "status" and isinstance(state, dict):
        state["status"] = "failed"
    if do == "runs" and isinstance(state, list):
        state.append({"added": True})
    if do == "retitle":
        experiment["title"] = "another"
    if do == "rearrange" and isinstance(context, dict) and "provider" in context:
        context["provider"]["arguments"] = ["rearranged"]


def place(name):
    def control(
        context, state=None, configuration=None, secrets=None, experiment=None, on=None, do=None, mark=True
    ):
        act(name, context, state, configuration, secrets, experiment, on, do, mark)

    return control


for level in ("experiment", "hypothesis", "method", "rollback", "activity", "loading_experiment"):
    for scope in ("before", "after"):
        globals()[f"{scope}_{level}_control"] = place(f"{scope}-{level}")


def configure_control(experiment=None, configuration=None, on=None, do=None, mark=True):
    if on == "configure":
        if do == "raise":
            raise RuntimeError("oops")
        configuration["configured"] = "yes"
        experiment["configured"] = "yes"


def cleanup_control():
    pass
