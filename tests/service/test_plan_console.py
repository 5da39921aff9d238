"""A plan on the terminal shows every reason, and brackets as they are."""

from hepar.service import plan_console
from hepar.service.plan_console import show_plan
from hepar.study.self_configuration import Row, TrainingPlan


def test_a_plan_is_shown_with_its_reasons_and_the_command_behind_it(capsys, monkeypatch):
    monkeypatch.setattr(plan_console.console, "_width", 100)
    plan = TrainingPlan("residual_unet/fast", ("patch=96",), 2.5, 60, (Row("patch", "96 [px]", "slices fit in it"),))
    show_plan(plan)
    shown = capsys.readouterr().out
    assert "96 [px]" in shown
    assert "slices fit in it" in shown
    assert "hepar train residual_unet/fast DATA -o RUN --set patch=96, scans thinned to 2.5 mm" in shown
