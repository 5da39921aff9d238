"""What is made up around the drawn organs: frame, wall, thorax, abdomen, bowel, liver's vessels, lesions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from label_trunk import label_trunk

from hepar.datasets.synthetic.abdomen import liver_height, paint_drawn_organs, paint_great_vessels, paint_missing_organs
from hepar.datasets.synthetic.bowel import paint_bowel
from hepar.datasets.synthetic.fields import grain, threads
from hepar.datasets.synthetic.liver import paint_liver
from hepar.datasets.synthetic.organ_map import Organ, OrganMap
from hepar.datasets.synthetic.scene import Scene, scene_of
from hepar.datasets.synthetic.thorax import paint_thorax
from hepar.datasets.synthetic.tissue import Phase, draw_tissue
from hepar.datasets.synthetic.torso import body_of, torso_of
from hepar.datasets.synthetic.trunk import paint_trunk


def scene(phase: Phase = "portal", seed: int = 0, organs: OrganMap | None = None) -> Scene:
    rng = np.random.default_rng(seed)
    return scene_of(organs or label_trunk(), draw_tissue(rng, phase), phase, rng)


def painted(made: Scene, *steps: Callable[[Scene], None]) -> Scene:
    for step in steps:
        step(made)
    return made


class TestFrame:
    def test_the_body_is_one_piece_without_holes_and_without_crumbs(self):
        labels = label_trunk().labels.copy()
        labels[:, 38:42, 60:64] = 0
        labels[:, 2:5, 2:5] = 1
        body = body_of(labels)
        assert body[:, 38:42, 60:64].all()
        assert not body[:, 2:5, 2:5].any()

    def test_the_spine_is_found_where_it_was_drawn(self):
        torso = torso_of(label_trunk(), np.random.default_rng(0))
        assert np.abs(torso.spine_x).max() < 6
        # Bodies are drawn from 39 mm behind the middle.
        assert 34 < torso.spine_front.min() <= torso.spine_front.max() < 48

    def test_a_spine_off_the_middle_is_found_there(self):
        organs = label_trunk()
        moved = OrganMap(np.roll(organs.labels, 3, axis=2), organs.geometry)
        here, there = (torso_of(m, np.random.default_rng(0)) for m in (organs, moved))
        assert np.median(there.spine_x - here.spine_x) == pytest.approx(12, abs=1)

    def test_the_cavity_holds_the_liver_and_leaves_a_wall(self):
        organs = label_trunk()
        torso = torso_of(organs, np.random.default_rng(0))
        cavity = torso.wall_mm < 0
        liver = organs.labels == Organ.LIVER
        assert cavity[liver].mean() > 0.99
        assert torso.depth_mm[cavity & torso.body].min() > 0
        assert np.median(torso.depth_mm[np.abs(torso.wall_mm) < 2]) > 8

    def test_the_diaphragm_lies_over_the_liver(self):
        organs = label_trunk()
        torso = torso_of(organs, np.random.default_rng(0))
        above = torso.above_diaphragm()[organs.labels == Organ.LIVER]
        assert (above < 0).mean() > 0.98

    def test_another_chance_makes_another_left_dome(self):
        organs = label_trunk()
        one, two = (torso_of(organs, np.random.default_rng(seed)).diaphragm for seed in (1, 2))
        assert not np.array_equal(one, two)

    def test_a_map_without_bone_still_has_a_frame(self):
        organs = label_trunk()
        boneless = np.where(organs.labels == Organ.BONE, 1, organs.labels).astype(np.uint8)
        torso = torso_of(OrganMap(boneless, organs.geometry), np.random.default_rng(0))
        assert np.isfinite(torso.wall_mm).all()
        assert np.isfinite(torso.spine_front).all()


class TestTrunk:
    def test_fat_lies_under_the_skin_and_muscle_within_it(self):
        made = painted(scene(), paint_trunk)
        torso, hu = made.torso, made.canvas.hu
        front = (np.abs(torso.angle) > 0.3) & (np.abs(torso.angle) < 1.0)
        under = front & (torso.depth_mm > 4.5) & (torso.depth_mm < 6.5) & (torso.wall_mm > 16)
        muscle = front & (torso.wall_mm > 1) & (torso.wall_mm < 4) & (made.labels == 1) & (torso.depth_mm > 9)
        assert np.median(hu[under]) < -70
        assert np.median(hu[muscle]) > 30

    def test_bone_is_dense_and_air_stays_air(self):
        made = painted(scene(), paint_trunk)
        assert np.median(made.canvas.hu[made.labels == Organ.BONE]) > 200
        assert (made.canvas.hu[~made.torso.body] == -1000).all()

    def test_nothing_is_free_in_bone_wall_or_drawn_organs(self):
        made = painted(scene(), paint_trunk)
        assert not made.canvas.free[made.labels > 1].any()
        assert not made.canvas.free[made.torso.wall_mm > 0].any()


class TestThorax:
    def test_lungs_are_made_over_the_diaphragm_on_both_sides(self):
        made = painted(scene(), paint_trunk, paint_thorax)
        lung = (made.canvas.hu < -700) & made.torso.body
        x = made.torso.axes_mm[2]
        assert lung[:, :, x < -40].any()
        assert lung[:, :, x > 40].any()
        assert (made.torso.above_diaphragm()[lung] > 0).mean() > 0.99

    def test_drawn_lungs_stay_where_they_were_drawn(self):
        organs = label_trunk()
        labels = organs.labels.copy()
        labels[24:29, 25:50, 20:40] = Organ.LUNG
        made = painted(scene(organs=OrganMap(labels, organs.geometry)), paint_trunk, paint_thorax)
        lung = (made.canvas.hu < -600) & made.torso.body
        assert not lung[labels != Organ.LUNG].any()
        assert lung[labels == Organ.LUNG].mean() > 0.8

    def test_what_is_free_afterwards_lies_in_the_belly(self):
        made = painted(scene(), paint_trunk, paint_thorax)
        assert made.torso.above_diaphragm()[made.canvas.free].max() < 0


class TestAbdomen:
    def test_missing_kidneys_are_made_on_both_sides_of_the_spine(self):
        made = painted(scene(organs=label_trunk(kidneys=False)), paint_trunk, paint_thorax)
        before = made.canvas.free.copy()
        paint_missing_organs(made)
        bright = before & (made.canvas.hu > 140)
        x = made.torso.axes_mm[2]
        for side in (x < -35, x > 35):
            assert np.count_nonzero(bright[:, :, side]) * made.canvas.voxel_ml > 15

    def test_drawn_kidneys_get_no_twins(self):
        organs = label_trunk()
        labels = organs.labels.copy()
        labels[5:12, 48:58, 60:70] = Organ.KIDNEY
        labels[5:12, 48:58, 26:34] = Organ.KIDNEY
        made = painted(scene(organs=OrganMap(labels, organs.geometry)), paint_trunk, paint_drawn_organs, paint_thorax)
        before = made.canvas.hu.copy()
        paint_missing_organs(made)
        changed = (made.canvas.hu != before) & (np.abs(made.torso.axes_mm[2]) > 45)
        # Spleen and gallbladder are made at the sides, but nothing as bright as a kidney's cortex.
        assert np.percentile(made.canvas.hu[changed], 99) < made.tissue.cortex - 15

    def test_a_kidney_has_a_brighter_cortex_in_the_arterial_phase(self):
        made = painted(scene("arterial"), paint_trunk, paint_drawn_organs)
        kidney = made.canvas.hu[made.labels == Organ.KIDNEY]
        assert kidney.max() - kidney.min() > 40

    def test_organs_are_made_only_where_there_is_room(self):
        made = painted(scene(), paint_trunk, paint_drawn_organs)
        paint_liver(made, label_trunk().liver())
        paint_thorax(made)
        taken, before = ~made.canvas.free, made.canvas.hu.copy()
        painted(made, paint_missing_organs, paint_bowel)
        assert np.array_equal(made.canvas.hu[taken], before[taken])

    def test_the_aorta_runs_through_belly_and_chest_in_front_of_the_spine(self):
        made = painted(scene("arterial"), paint_trunk, paint_great_vessels, paint_thorax)
        bright = (made.canvas.hu == np.float32(made.tissue.artery)) & (made.labels == Organ.BODY)
        assert bright.any(axis=(1, 2)).mean() > 0.9
        x = made.torso.axes_mm[2][np.nonzero(bright)[2]]
        assert 0 < np.median(x) < 25

    def test_a_cava_that_ends_at_the_liver_is_led_on_to_the_bottom(self):
        made = painted(scene(), paint_trunk, paint_great_vessels)
        blood = made.canvas.hu == np.float32(made.tissue.cava - 12)
        assert blood[:3].any()
        assert np.median(made.torso.axes_mm[2][np.nonzero(blood)[2]]) < 0

    def test_heights_are_shares_of_the_liver(self):
        made = scene()
        levels = np.flatnonzero((made.labels == Organ.LIVER).any(axis=(1, 2)))
        z = made.torso.axes_mm[0]
        assert liver_height(made, 0) == pytest.approx(z[levels[0]])
        assert liver_height(made, 1) == pytest.approx(z[levels[-1]])


class TestBowel:
    def test_bowel_brings_gas_walls_and_contents_and_leaves_fat(self):
        made = painted(scene(seed=3), paint_trunk, paint_drawn_organs, paint_thorax, paint_missing_organs)
        belly = made.canvas.free.copy()
        paint_bowel(made)
        hu = made.canvas.hu[belly]
        assert (hu < -500).any()
        assert np.mean((hu > 0) & (hu < 150)) > 0.1
        assert np.mean((hu > -130) & (hu < -60)) > 0.1

    def test_gas_lies_over_fluid_in_a_drawn_stomach(self):
        organs = label_trunk()
        labels = organs.labels.copy()
        labels[12:20, 25:42, 56:72] = Organ.STOMACH
        made = painted(scene(organs=OrganMap(labels, organs.geometry)), paint_trunk, paint_bowel)
        ys = np.nonzero((made.canvas.hu < -800) & (labels == Organ.STOMACH))[1]
        fluid = np.nonzero((made.canvas.hu > -50) & (labels == Organ.STOMACH))[1]
        assert ys.size
        assert ys.mean() < fluid.mean()


class TestLiver:
    def test_every_voxel_of_the_liver_has_a_tissue_of_the_liver(self):
        organs = label_trunk()
        made = scene(organs=organs)
        liver = organs.liver()
        paint_liver(made, liver)
        hu = made.canvas.hu[liver]
        assert hu.min() > -10
        assert hu.max() < made.tissue.portal + 60
        assert not made.canvas.free[liver].any()
        assert (made.canvas.hu[~liver] == -1000).all()

    def test_a_map_without_hepatic_veins_gets_some(self):
        organs = label_trunk()
        labels = organs.labels.copy()
        labels[labels == Organ.PORTAL] = Organ.LIVER
        made = scene(organs=OrganMap(labels, organs.geometry))
        made = Scene(
            made.canvas,
            labels,
            made.torso,
            replace(made.tissue, liver=100, portal=100, hepatic_vein=200),
            "portal",
            made.rng,
        )
        liver = np.isin(labels, (Organ.LIVER, Organ.TUMOUR))
        paint_liver(made, liver)
        veins = made.canvas.hu[liver] > 150
        assert 0.001 < veins.mean() < 0.15

    def test_vessels_stand_out_with_contrast_medium_and_not_without(self):
        organs = label_trunk()
        over = {}
        for phase in ("native", "portal"):
            made = scene(phase, organs=organs)
            paint_liver(made, organs.liver())
            over[phase] = np.median(made.canvas.hu[organs.labels == Organ.PORTAL]) - made.tissue.liver
        assert over["portal"] > 25
        assert over["native"] < 15

    @pytest.mark.parametrize("seed", range(6))
    def test_tumours_differ_from_the_liver_and_cysts_are_water(self, seed):
        organs = label_trunk()
        made = scene(seed=seed, organs=organs)
        made = Scene(made.canvas, made.labels, made.torso, replace(made.tissue, liver=110), "portal", made.rng)
        paint_liver(made, organs.liver())
        tumour = made.canvas.hu[organs.labels == Organ.TUMOUR]
        assert -110 < np.median(tumour) - 110 < -5
        assert np.median(made.canvas.hu[organs.labels == Organ.CYST]) == pytest.approx(made.tissue.cyst, abs=1)


class TestTissue:
    @pytest.mark.parametrize("seed", range(5))
    def test_contrast_medium_makes_everything_that_has_blood_brighter(self, seed):
        native, portal = (draw_tissue(np.random.default_rng(seed), phase) for phase in ("native", "portal"))
        for name in ("portal", "hepatic_vein", "artery", "spleen", "cortex", "liver"):
            assert getattr(portal, name) > getattr(native, name)

    def test_arteries_come_before_veins(self):
        drawn = [draw_tissue(np.random.default_rng(seed), "arterial") for seed in range(20)]
        assert all(t.artery > t.portal > 60 for t in drawn)
        assert all(t.artery > t.hepatic_vein + 60 for t in drawn)

    def test_some_livers_are_fatty_and_most_are_not(self):
        livers = np.array([draw_tissue(np.random.default_rng(seed), "portal").liver for seed in range(300)])
        assert 0.03 < np.mean(livers < 75) < 0.35
        assert 88 < np.median(livers) < 115


class TestFields:
    def test_grain_has_unit_deviation_and_the_size_that_was_asked_for(self):
        rng = np.random.default_rng(0)
        fine, coarse = (grain(rng, (20, 60, 60), (2, 1, 1), size) for size in (3, 20))
        for field in (fine, coarse):
            assert field.std() == pytest.approx(1, abs=1e-3)
        assert np.abs(np.diff(fine, axis=2)).mean() > 3 * np.abs(np.diff(coarse, axis=2)).mean()

    def test_threads_are_thin(self):
        near = threads(np.random.default_rng(0), (20, 60, 60), (2, 1, 1), 20)
        assert 0 < np.mean(near < 2) < 0.12
        assert np.mean(near < 4) > np.mean(near < 2)
